//! What would become of a request, and why: every layer is asked, and nothing is forwarded.
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use portcullis_authz::DecisionRecord;
use portcullis_core::stack::{KnownCaller, Staged};
use portcullis_core::{
    AuthState, Body, Challenges, Context, Decision, Identity, IdentityBuilder, Note, Problem,
    Route, Stack, Verdict, stage,
};
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use crate::Gateway;
use crate::cache::WouldCache;
use crate::cors::CorsByRoute;
use crate::limits::LimitLayers;
use crate::overload::Overload;
use crate::source::FileErrors;
use crate::stores::Later;

/// What would become of a request, and why.
#[derive(Debug)]
pub struct Explanation {
    context: Context,
    status: StatusCode,
    to: Option<String>,
}

impl Explanation {
    /// What each layer decided, in the order in which they did.
    pub fn notes(&self) -> Vec<Note> {
        self.context.explain().map_or_else(Vec::new, portcullis_core::Explain::notes)
    }
    /// The route that the request found.
    pub fn route(&self) -> Option<&Route> {
        self.context.route()
    }
    /// Whose request it was.
    pub fn identity(&self) -> Option<&Identity> {
        self.context.identity()
    }
    /// What authorization decided; `None` where the request did not come so far.
    pub fn decision(&self) -> Option<&Decision> {
        self.context.decision()
    }
    /// What the gateway itself would answer; `None` where the answer would be another one's.
    pub fn answer(&self) -> Option<StatusCode> {
        self.to.is_none().then_some(self.status)
    }
    /// The problem that would be answered.
    pub fn problem(&self) -> Option<&Problem> {
        self.context.problem()
    }
    /// Where the request would end; `None` where it would not get there.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }
}

/// One line for each layer, with how long it took since the line before, and what comes of it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = Duration::ZERO;
        for Note { stage, text, after, .. } in self.notes() {
            let took = after.saturating_sub(before);
            writeln!(f, "{stage:<14}{text}  ({} us)", took.as_micros())?;
            before = after;
        }
        match (&self.to, self.problem()) {
            (Some(to), _) => writeln!(f, "{:<14}goes to {to}", "end"),
            (None, Some(problem)) => {
                writeln!(f, "{:<14}{} {}", "end", self.status.as_u16(), problem.kind().slug())
            }
            (None, None) => writeln!(f, "{:<14}{}", "end", self.status.as_u16()),
        }
    }
}

/// Where a route would have ended.
#[derive(Clone, Debug)]
struct DeadEnd(String);

/// As an extension of a response: where the request would have gone.
#[derive(Clone)]
struct Reached(String);

impl Service<Request<Body>> for DeadEnd {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Reached(self.0.clone()));
        ready(Ok(response))
    }
}

/// In the place of authentication: every request is this caller's.
#[derive(Clone, Debug)]
struct Presume(IdentityBuilder, bool);

#[derive(Clone, Debug)]
struct Presuming<S> {
    inner: S,
    caller: Presume,
}

impl<S> Layer<S> for Presume {
    type Service = Presuming<S>;
    fn layer(&self, inner: S) -> Presuming<S> {
        Presuming { inner, caller: self.clone() }
    }
}

impl Staged for Presume {
    type Stage = stage::Authenticate;
    type Needs = ();
    type Provides = KnownCaller;
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Presuming<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = Context::of(&mut request);
        let Presume(caller, any_issuer) = &self.caller;
        let access = context.route().map(Route::access);
        let is_public = access.is_some_and(portcullis_core::Access::is_public);
        let state = if is_public {
            AuthState::Anonymous(Challenges::default())
        } else {
            let issuer = access.and_then(|access| access.issuers().next());
            let caller = match issuer.filter(|_| *any_issuer) {
                Some(issuer) => caller.clone().issuer(issuer).build(),
                None => caller.clone().build(),
            };
            context.note("authenticate", || format!("taken for {}", caller.key()));
            AuthState::Authenticated(caller)
        };
        context.set_auth(state);
        self.inner.call(request)
    }
}

impl Gateway {
    /// Tells what would become of a request, by the very layers that serve requests. Nothing is forwarded; limits count it in this process alone.
    ///
    /// `caller` is whom it is taken for, and whether an issuer that the route takes may stand for the caller's own; without one its own credentials say.
    /// A [`Connection`](portcullis_core::Connection) in its extensions says where it comes from.
    ///
    /// # Errors
    /// What does not fit together.
    pub async fn explain(
        &self,
        request: Request<Body>,
        caller: Option<(IdentityBuilder, bool)>,
    ) -> Result<Explanation, FileErrors> {
        self.explain_with(request, caller, true).await
    }
    async fn explain_with(
        &self,
        mut request: Request<Body>,
        caller: Option<(IdentityBuilder, bool)>,
        has_limits: bool,
    ) -> Result<Explanation, FileErrors> {
        let limits = if has_limits { self.limits_alone().clone() } else { LimitLayers::default() };
        let LimitLayers { front, route, caller: by_caller } = limits;
        // Nothing is under way here, and nobody shed.
        let overload = self.overload.as_ref().map(Overload::inner);
        let cache = self.has_cached().then_some(WouldCache);
        let context = Context::of(&mut request);
        context.start_explaining();
        let ends = self.routes_map(|end| DeadEnd(end.to_string()));
        let stack = Stack::new().layer(self.edge()).layer(front).layer(ends.layer());
        let stack = stack.layer(self.has_cors().then_some(CorsByRoute));
        let stack = stack.layer(route);
        let answer = if let Some((caller, any_issuer)) = caller {
            let stack = stack.layer(Presume(caller, any_issuer));
            let stack = stack.layer(by_caller).layer(self.authorize().clone());
            let stack = stack.layer(cache).layer(overload);
            let mut service = self.placed(stack.around(ends))?;
            service.call(request).await
        } else {
            let stack = stack.layer(self.authenticate().clone());
            let stack = stack.layer(by_caller).layer(self.authorize().clone());
            let stack = stack.layer(cache).layer(overload);
            let mut service = self.placed(stack.around(ends))?;
            service.call(request).await
        };
        let Ok(answer) = answer;
        let to = answer.extensions().get::<Reached>().map(|Reached(to)| to.clone());
        Ok(Explanation { context, status: answer.status(), to })
    }
    /// What this gateway decides about a request that another one, or another file, has decided about; `None` where it finds no route.
    ///
    /// # Errors
    /// What does not fit together.
    pub async fn replay(&self, record: &DecisionRecord) -> Result<Option<Verdict>, FileErrors> {
        let mut request = Request::new(Body::empty());
        // What cannot be asked for finds nothing.
        let Ok(method) = record.method.parse() else { return Ok(None) };
        *request.method_mut() = method;
        let Ok(uri) = filled(&record.path).parse() else { return Ok(None) };
        *request.uri_mut() = uri;
        let host = record.host.as_deref().unwrap_or("replay.invalid");
        let Ok(host) = http::HeaderValue::try_from(host) else { return Ok(None) };
        request.headers_mut().insert(http::header::HOST, host);
        let caller = record.issuer.as_deref().map(|issuer| {
            let subject = record.subject.as_deref().unwrap_or("replay");
            let caller = Identity::builder(issuer, subject)
                .roles(record.roles.iter().cloned())
                .scopes(record.scopes.iter().cloned());
            let caller = record.tenant.iter().cloned().fold(caller, IdentityBuilder::tenant);
            (record.assurance.into_iter().fold(caller, IdentityBuilder::assurance), false)
        });
        // Limits have nothing to do with who may.
        let explained = self.explain_with(request, caller, false).await?;
        if let Some(decision) = explained.decision() {
            return Ok(Some(decision.verdict()));
        }
        Ok(explained.route().map(|_| Verdict::Deny))
    }
    /// Waits until those who know callers and their roles can be asked: stores, and the keys of issuers. Five seconds at most. Says whether all of them can.
    pub async fn start_callers(&self) -> bool {
        let all = async {
            // Limits and the cache are explained without stores.
            let callers = |store: &&Later| !self.can_be_away(store.store());
            for store in self.later_stores().iter().filter(callers) {
                store.start().await;
            }
            self.start_issuers(&tokio::runtime::Handle::current());
            for issuer in &self.issuers {
                if let Some(keys) = issuer.policy.remote() {
                    keys.ready().await;
                }
            }
            self.start_roles(&tokio::runtime::Handle::current());
            self.roles_are_known().await;
        };
        timeout(Duration::from_secs(5), all).await.is_ok()
    }
}

/// A path without the parameters of a template.
fn filled(path: &str) -> String {
    let part =
        |part: &str| if part.starts_with('{') { "-any-".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
