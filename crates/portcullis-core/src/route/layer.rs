//! The route layer: finds the route once, for everybody further in.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Asked, Found, Guardedness, MaxBody, OnlyFrom, Route, RouteTable, Streaming, TimeLimit, front,
};
use crate::problem::kinds;
use crate::stack::{CanonicalTarget, KnownRoutes, Plan, Staged};
use crate::target::{TargetRules, other_spelling};
use crate::{Body, BoxError, Context, Problem, Refusable, Target, stage};

/// Applies [`RouteService`]: finds the route of a request and leaves it in the [`Context`].
///
/// Answers 404, 405 with `Allow`, and OPTIONS by itself. A CORS preflight goes inward under the route that it asks
/// about. A path whose other spelling (with reserved characters decoded) leads to another route is refused. What a route
/// says by [`RouteExt`](super::RouteExt) is seen to here.
///
/// It belongs behind the edge, which makes the target canonical; alone it makes it so itself.
///
/// A stack that is finished by `around` or `service` stands in front of the router. Anywhere else a router may have matched
/// the path before it was normalised, as in `axum::Router::layer`, and would call another endpoint than the one that is
/// decided about; so there a path that had to be normalised is refused.
pub struct RouteLayer<G> {
    table: Arc<RouteTable>,
    in_front: Arc<AtomicBool>,
    kind: PhantomData<fn() -> G>,
}

impl<G: Guardedness> RouteLayer<G> {
    /// Finds routes in `table`, whose kind the caller vouches for: the leaf guard refuses what nobody enforces.
    pub fn new(table: Arc<RouteTable>) -> Self {
        Self { table, in_front: Arc::default(), kind: PhantomData }
    }
    /// The table.
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }
}

impl<G> Clone for RouteLayer<G> {
    fn clone(&self) -> Self {
        let (table, in_front) = (Arc::clone(&self.table), Arc::clone(&self.in_front));
        Self { table, in_front, kind: PhantomData }
    }
}

impl<G> fmt::Debug for RouteLayer<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteLayer").field(&self.table).finish()
    }
}

impl<S, G> Layer<S> for RouteLayer<G> {
    type Service = RouteService<S>;
    fn layer(&self, inner: S) -> Self::Service {
        let (table, in_front) = (Arc::clone(&self.table), Arc::clone(&self.in_front));
        RouteService { inner, table, in_front }
    }
}

impl<G: Guardedness> Staged for RouteLayer<G> {
    type Stage = stage::Route;
    type Needs = CanonicalTarget;
    type Provides = KnownRoutes<G>;
    fn check(&self, plan: &mut Plan) {
        plan.routes_by(&self.table, &self.in_front);
        plan.reads::<MaxBody>([]);
        plan.reads::<OnlyFrom>([]);
        plan.reads::<Streaming>([]);
        plan.reads::<TimeLimit>([]);
    }
}

/// Finds the route of a request.
#[derive(Clone, Debug)]
pub struct RouteService<S> {
    inner: S,
    table: Arc<RouteTable>,
    in_front: Arc<AtomicBool>,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for RouteService<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Refusable<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        let in_front = self.in_front.load(Ordering::Relaxed);
        match route(&self.table, in_front, &context, &mut request) {
            Ok(()) => Refusable::calling(self.inner.call(request)),
            Err(answer) => Refusable::answered(*answer),
        }
    }
}

/// Finds the route, or the answer in its place.
fn route<B>(
    table: &Arc<RouteTable>,
    in_front: bool,
    context: &Context,
    request: &mut Request<B>,
) -> Result<(), Box<Response<Body>>> {
    if !table.errors().is_empty() {
        return Err(refuse(
            Problem::new(kinds::CONFIGURATION_INVALID).cause(table.errors().clone()),
            context,
        ));
    }
    if context.target().is_none() {
        let scheme = context.scheme();
        let target = Target::of(request, scheme, None, &TargetRules::strict())
            .map_err(|error| refuse(crate::edge::invalid_target(error), context))?;
        target.apply_to(request.uri_mut());
        context.set_target(target);
    }
    // Not the URI's: what stands between the edge and here may have changed that, and the leaf will tell.
    let path = context.target().map_or("", Target::path);
    if path == "*" {
        return Err(no_content(None));
    }
    if !in_front && context.target().is_some_and(|target| target.original().is_some()) {
        let detail = "the path is not in its plain spelling, and may have been routed already";
        return Err(refuse(Problem::new(kinds::TARGET_INVALID).detail(detail), context));
    }
    // A preflight travels under the route that it asks about, unless the path has a route for OPTIONS itself.
    let preflight = preflight_method(request);
    let asked = Asked {
        method: request.method(),
        path,
        target: context.target(),
        headers: request.headers(),
        client: context.client(),
    };
    let preflight = preflight.filter(|_| matches!(table.find(&asked), Found::Options(_)));
    let asked = Asked { method: preflight.as_ref().unwrap_or(request.method()), ..asked };
    let found = table.find(&asked);
    if let Some(other) = other_spelling(path)
        && let (Found::Route(this), Found::Route(that)) =
            (&found, table.find(&Asked { path: &other, ..asked }))
        && *this != that
    {
        let detail = "the path has another spelling that leads to another route: send reserved characters raw";
        return Err(refuse(Problem::new(kinds::TARGET_INVALID).detail(detail), context));
    }
    let index = match found {
        Found::Route(index) => index,
        Found::Nothing => return Err(refuse(kinds::ROUTE_NOT_FOUND.into(), context)),
        Found::Options(allow) => return Err(no_content(Some(allow))),
        Found::MethodNotAllowed(allow) => {
            return Err(refuse(
                Problem::new(kinds::METHOD_NOT_ALLOWED).header(ALLOW, allow.clone()),
                context,
            ));
        }
    };
    let route = Route::new(Arc::clone(table), index);
    context.note("route", || format!("{route} ({})", route.access()));
    if !context.set_route(route) {
        let cause = "a second route table met the same request: nest routers in one table instead";
        return Err(refuse(Problem::new(kinds::CONTEXT_CONFLICT).cause(cause), context));
    }
    let options = context.route().map(Route::options);
    options.map_or(Ok(()), |options| front::apply(options, context)).map_err(|problem| {
        context.note("route", || problem.to_string());
        refuse(problem, context)
    })
}

/// The method that a CORS preflight asks about.
fn preflight_method<B>(request: &Request<B>) -> Option<Method> {
    if request.method() != Method::OPTIONS || !request.headers().contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

fn refuse(problem: Problem, context: &Context) -> Box<Response<Body>> {
    Box::new(problem.respond(context))
}

fn no_content(allow: Option<&HeaderValue>) -> Box<Response<Body>> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Some(allow) = allow {
        answer.headers_mut().insert(ALLOW, allow.clone());
    }
    Box::new(answer)
}
