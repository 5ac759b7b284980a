//! The leaf guard: the last look before the endpoint, whatever assembled the stack.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{OnlyFrom, Route, RouteTable};
use crate::problem::kinds;
use crate::{Body, BoxError, ConfigErrors, Context, Dialect, Problem, Refusable};

/// Applies [`Guard`].
#[derive(Clone, Debug)]
pub struct GuardLayer {
    scope: Scope,
    prefix: Option<Arc<str>>,
}

/// What the guard stands in front of.
#[derive(Clone, Debug)]
enum Scope {
    /// The endpoint of one route.
    Route(Route),
    /// Whatever serves the routes of one table.
    Table(Arc<RouteTable>),
    /// A service without a table.
    Service,
    /// A stack that is not set up correctly: everything is refused.
    Invalid(Arc<ConfigErrors>),
}

impl GuardLayer {
    /// Guards the endpoint of `route`.
    pub fn route(route: Route) -> Self {
        Self { scope: Scope::Route(route), prefix: None }
    }
    /// Guards a service that serves all the routes of `table`.
    pub fn table(table: Arc<RouteTable>) -> Self {
        Self { scope: Scope::Table(table), prefix: None }
    }
    /// Guards a service that has no route table: only the target is compared.
    pub fn service() -> Self {
        Self { scope: Scope::Service, prefix: None }
    }
    /// Refuses everything, because of these errors.
    pub fn invalid(errors: ConfigErrors) -> Self {
        Self { scope: Scope::Invalid(Arc::new(errors)), prefix: None }
    }
    /// Says that the router in front has cut `prefix` off the request's path.
    #[must_use]
    pub fn behind_prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }

    /// What is wrong with letting this request through. [`Guard`] asks it; so does an adapter that keeps the body type
    /// of its framework.
    pub fn objection<B>(&self, request: &Request<B>) -> Option<Problem> {
        if let Scope::Invalid(errors) = &self.scope {
            return Some(Problem::new(kinds::CONFIGURATION_INVALID).cause((**errors).clone()));
        }
        let context = Context::get(request.extensions());
        self.undecided(context, request.method()).or_else(|| self.moved(context?, request))
    }

    /// A route that is not public, and no decision that allows it.
    fn undecided(&self, context: Option<&Context>, method: &Method) -> Option<Problem> {
        let matched = context.and_then(Context::route);
        let route = match &self.scope {
            Scope::Route(route) => Some(route),
            Scope::Table(table) => matched.filter(|route| Arc::ptr_eq(route.table(), table)),
            Scope::Service | Scope::Invalid(_) => return None,
        };
        let Some(route) = route else {
            return Some(missing("no route layer of this table has seen the request"));
        };
        if !route.methods().include(method) {
            // A preflight that nobody answered travels under the route that it asks about.
            let target = context.and_then(Context::target);
            let (host, path) = target.map_or(("", ""), |target| (target.host(), target.path()));
            let allow = route.table().allowed(host, path).cloned();
            let allow = allow.unwrap_or(HeaderValue::from_static(""));
            return Some(Problem::new(kinds::METHOD_NOT_ALLOWED).header(ALLOW, allow));
        }
        // A public route may be reached without a route layer, unless that was to look where the client is.
        let unseen_is_fine = || route.options().get::<OnlyFrom>().is_none();
        if route.access().is_public()
            && matched.map_or_else(unseen_is_fine, |matched| matched == route)
        {
            return None;
        }
        if matched != Some(route) {
            return Some(missing(format!(
                "`{route}` was reached, but it is not the route that was matched ({matched:?})"
            )));
        }
        let decision = context.and_then(Context::decision);
        if decision.is_some_and(|decision| decision.allows(route)) {
            return None;
        }
        Some(missing(match decision {
            Some(decision) => format!("`{route}` was reached with the decision {decision:?}"),
            None => format!(
                "`{route}` asks for {}, and nobody decided about it: put `AuthorizeLayer` into the stack",
                route.access()
            ),
        }))
    }

    /// A target that is not the one that was checked.
    fn moved<B>(&self, context: &Context, request: &Request<B>) -> Option<Problem> {
        let target = context.target()?;
        let same = match &self.prefix {
            None => target.matches(request.uri()),
            Some(prefix) => target.path().strip_prefix(&**prefix).is_some_and(|rest| {
                let path = request.uri().path();
                let same_path = rest == path || (rest.is_empty() && path == "/");
                same_path && target.query() == request.uri().query()
            }),
        };
        if same {
            return None;
        }
        let cause =
            format!("`{}` was checked, `{}` was reached", target.path_and_query(), request.uri());
        Some(Problem::new(kinds::TARGET_CHANGED).cause(cause))
    }
}

fn missing(cause: impl Into<BoxError>) -> Problem {
    Problem::new(kinds::AUTHORIZATION_MISSING).cause(cause)
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Guard { inner, layer: self.clone() }
    }
}

/// Calls an endpoint only when the [`Context`] holds an allowing decision for its very route, and the request still
/// has the target that was decided about. Public routes need no decision.
///
/// It also gives a [`Problem`] that the endpoint answered with the dialect of the request.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Guard<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if let Some(problem) = self.layer.objection(&request) {
            let answer = problem.respond(&Context::of(&mut request));
            return GuardFuture { call: Refusable::answered(answer), context: None };
        }
        let context = Context::get(request.extensions()).cloned();
        GuardFuture { call: Refusable::calling(self.inner.call(request)), context }
    }
}

/// Leaves a problem that an endpoint answered in the context, and gives it the dialect of the request.
pub fn adopt_problem(response: Response<Body>, context: &Context) -> Response<Body> {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    if context.problem().is_some() {
        return response;
    }
    if context.dialect() == Dialect::default() && context.renderer().is_none() {
        context.set_problem(problem);
        return response;
    }
    let (parts, _) = response.into_parts();
    let mut rendered = problem.respond(context);
    for name in parts.headers.keys() {
        // What describes the body that goes does not describe the one that comes.
        let of_the_body = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ETAG].contains(name);
        if !of_the_body && !rendered.headers().contains_key(name) {
            for value in parts.headers.get_all(name) {
                rendered.headers_mut().append(name.clone(), value.clone());
            }
        }
    }
    rendered
}

pin_project! {
    /// The response future of [`Guard`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct GuardFuture<F> {
        #[pin]
        call: Refusable<F>,
        // None for a refusal, which is in the dialect of the request already.
        context: Option<Context>,
    }
}

impl<F, B, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.call.poll(cx))?;
        Poll::Ready(Ok(match this.context {
            Some(context) => adopt_problem(response, context),
            None => response,
        }))
    }
}
