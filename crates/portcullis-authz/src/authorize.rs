//! The authorization layer.
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds::CONTEXT_CONFLICT;
use portcullis_core::stack::{Enforcement, KnownCaller, KnownRoute, Plan, Staged};
use portcullis_core::{
    AuthState, Body, BoxError, ConfigError, Context, Decision, Identity, Problem, Requirement,
    Route, RouteTable, StepUp, Verdict, is_scope, stage,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::authorizer::Authorizer;
use crate::future::AuthorizeFuture;
use crate::judge::{Head, Judge, Judged, Judgement, LOG_IN_TOO_LONG_AGO, SCOPE_MISSING};
use crate::kinds::{
    AUTHORIZATION_UNAVAILABLE, PERMISSION_DENIED, SCOPE_INSUFFICIENT, STEP_UP_REQUIRED,
};
use crate::live::LiveRoles;
use crate::log::DecisionLog;
use crate::matrix::Matrix;
use crate::policy::{Opinion, Policies, Policy};
use crate::shadow::Shadow;

/// As the kind of an [`AuthorizeLayer`]: it decides by the access of the matched route.
#[derive(Clone, Copy, Debug)]
pub struct ByRoute;
/// As the kind of an [`AuthorizeLayer`]: it has a requirement of its own, and needs no table.
#[derive(Clone, Copy, Debug)]
pub struct Fixed;

/// Applies [`Authorize`]: denies by default.
///
/// [`new`](Self::new) decides by the access that each route states. With [`require`](Self::require) it also has a
/// requirement of its own, and may then stand in front of a service that has no route table.
pub struct AuthorizeLayer<K = ByRoute> {
    settings: Arc<Settings>,
    kind: PhantomData<fn() -> K>,
}

/// What a layer decides by, and who is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) authorizer: Arc<Authorizer>,
    fixed: Option<Requirement>,
    shadow: Option<Shadow>,
}

impl AuthorizeLayer<ByRoute> {
    /// Decides by the access that each route states, and by these roles: [`Roles`](crate::Roles) that stay as they are, or [`LiveRoles`] that change.
    pub fn new(roles: impl Into<LiveRoles>) -> Self {
        let authorizer = Arc::new(Authorizer::new(roles));
        Self::of(Settings { authorizer, fixed: None, shadow: None })
    }
    /// Also asks every caller for `permission`; needs no route table then.
    pub fn require(self, permission: impl Into<Arc<str>>) -> AuthorizeLayer<Fixed> {
        let fixed = Some(Requirement::Permission(permission.into()));
        AuthorizeLayer::of(Settings { fixed, ..Settings::clone(&self.settings) })
    }
}

impl<K> AuthorizeLayer<K> {
    fn of(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), kind: PhantomData }
    }
    fn with(&self, edit: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        edit(&mut settings);
        Self::of(settings)
    }
    /// A policy, which routes ask by this name, in place of any of the same name. Default: none.
    #[must_use]
    pub fn policy(self, name: impl Into<Arc<str>>, policy: impl Policy) -> Self {
        self.with(|settings| {
            let Authorizer { judge, log } = &*settings.authorizer;
            let mut judge = Judge::clone(judge);
            judge.policies.put(name.into(), Arc::new(policy));
            let authorizer = Authorizer { judge: Arc::new(judge), log: log.clone() };
            settings.authorizer = Arc::new(authorizer);
        })
    }
    /// Where decisions are written. Default: nowhere.
    #[must_use]
    pub fn log(self, log: DecisionLog) -> Self {
        self.with(|settings| {
            let judge = Arc::clone(&settings.authorizer.judge);
            settings.authorizer = Arc::new(Authorizer { judge, log: Some(log) });
        })
    }
    /// Runs a candidate beside what decides. Default: none.
    #[must_use]
    pub fn shadow(self, shadow: Shadow) -> Self {
        self.with(|settings| settings.shadow = Some(shadow))
    }
    /// What the application asks about objects.
    pub fn authorizer(&self) -> Authorizer {
        Authorizer::clone(&self.settings.authorizer)
    }
    /// Who may call what, for each route of a table and each role.
    pub fn matrix(&self, table: &Arc<RouteTable>) -> Matrix {
        Matrix::new(&self.settings.authorizer.judge, self.settings.fixed.as_ref(), table)
    }
    fn policies(&self) -> &Policies {
        &self.settings.authorizer.judge.policies
    }
    fn check_table(&self, plan: &mut Plan) {
        let judge = &self.settings.authorizer.judge;
        if let Some(requirement) = &self.settings.fixed {
            plan.errors(judge.objection(requirement, false, "AuthorizeLayer"));
        }
        let roles = judge.roles.current();
        let known: HashSet<_> = roles.names().collect();
        // What a store keeps is known later.
        let is_known = |role: &str| judge.roles.is_stale() || known.contains(role);
        let unknown = plan.mentioned_roles().filter(|(_, role)| !is_known(role));
        let unknown = unknown.map(|(place, role)| {
            ConfigError::new(
                place,
                format!("no role is called `{role}`: define it, or correct the name"),
            )
        });
        let unknown: Vec<_> = unknown.collect();
        plan.errors(unknown);
        let Some(table) = plan.table().cloned() else { return };
        for route in table.routes() {
            let place = format!("route `{route}`");
            let by_object = route.access().checks_objects();
            plan.errors(judge.objection(route.access().requirement(), by_object, &place));
            plan.errors(self.objections(&route).map(|message| ConfigError::new(&place, message)));
        }
    }
    /// What cannot be meant in what a route asks.
    fn objections(&self, route: &Route) -> impl Iterator<Item = String> {
        let access = route.access();
        let mut messages = Vec::new();
        let is_public = access.is_public();
        let asks = access.scopes().len() > 0 || access.issuers().len() > 0;
        if asks && is_public {
            messages.push("it is public, so nobody's credentials are looked at, and its scopes and issuers mean nothing: make it \
                           `optional` or `authenticated`, or drop them".to_owned());
        }
        for scope in access.scopes().filter(|scope| !is_scope(scope)) {
            messages.push(format!(
                "`{scope}` is no scope: a word of printable ASCII without spaces, `\"` and `\\`"
            ));
        }
        if self.settings.fixed.is_some() && is_public {
            messages.push("it is public, so nobody's credentials are looked at, but `AuthorizeLayer::require` asks \
                           everybody for a permission: make the route `optional`, or drop `require`".to_owned());
        }
        let is_open = matches!(access.requirement(), Requirement::Public | Requirement::Optional);
        if access.checks_objects() && is_open {
            messages.push("it is `object_checked`, and open to callers about whom nothing can be asked: make it `authenticated` or more, or drop the word".to_owned());
        }
        if let Some(StepUp { level, max_age, .. }) = access.step_up()
            && (level.is_some_and(|level| !(1..=3).contains(&level))
                || max_age.is_some_and(|age| age.is_zero())
                || (level, max_age) == (None, None))
        {
            messages.push("its step-up asks for nothing that somebody could do: a level is 1, 2 or 3, and an age is more than nothing".to_owned());
        }
        messages.into_iter()
    }
}

impl<K> Clone for AuthorizeLayer<K> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), kind: PhantomData }
    }
}

impl<K> fmt::Debug for AuthorizeLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer").field("settings", &self.settings).finish()
    }
}

impl<S, K> Layer<S> for AuthorizeLayer<K> {
    type Service = Authorize<S>;
    fn layer(&self, inner: S) -> Self::Service {
        let mut settings = Settings::clone(&self.settings);
        settings.shadow = settings.shadow.map(|shadow| shadow.above(self.policies()));
        Authorize { inner, settings: Arc::new(settings) }
    }
}

impl Staged for AuthorizeLayer<ByRoute> {
    type Stage = stage::Authorize;
    type Needs = (KnownRoute, KnownCaller);
    type Provides = Enforcement;
    fn check(&self, plan: &mut Plan) {
        self.check_table(plan);
    }
}

impl Staged for AuthorizeLayer<Fixed> {
    type Stage = stage::Authorize;
    type Needs = KnownCaller;
    type Provides = Enforcement;
    fn check(&self, plan: &mut Plan) {
        self.check_table(plan);
    }
}

/// Lets a request through only when its caller may: 401 for a caller nobody knows, 403 for one who may not, 503 where it cannot be told.
///
/// The [`Decision`] stays in the context, also when the answer is no.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Authorize<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthorizeFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        match self.settings.admit(&context, Head { method, uri, headers }, None) {
            Admitted::Yes => AuthorizeFuture::calling(&mut self.inner, request, context),
            Admitted::No(problem) => AuthorizeFuture::refused(problem.respond(&context)),
            Admitted::Ask(policy) => {
                let settings = Arc::clone(&self.settings);
                AuthorizeFuture::asking(&mut self.inner, request, context, settings, policy)
            }
        }
    }
}

/// What becomes of a request.
pub(crate) enum Admitted {
    Yes,
    No(Problem),
    Ask(Arc<dyn Policy>),
}

impl Settings {
    /// What a policy thinks comes with it the second time.
    pub(crate) fn admit(
        &self,
        context: &Context,
        head: Head<'_>,
        opinion: Option<Opinion>,
    ) -> Admitted {
        let own = self.fixed.as_ref();
        let judged = match self.authorizer.judge.judge(own, context, Some(head), opinion) {
            Ok(Judged::Judgement(judged)) => judged,
            Ok(Judged::Ask(policy)) => return Admitted::Ask(policy),
            Err(problem) => return Admitted::No(problem),
        };
        if let Some(shadow) = &self.shadow {
            shadow.compare(own, context, head, judged.verdict);
        }
        if let Some(log) = &self.authorizer.log {
            log.request(context, head, &judged);
        }
        let Judgement { verdict, rule, reason, role } = judged;
        context.note("authorize", || {
            let by = role.map(|role| self.authorizer.by_role(role)).unwrap_or_default();
            format!("{verdict}: {rule}: {reason}{by}")
        });
        let is_scope_missing = reason == SCOPE_MISSING;
        let decision = Decision::new(verdict, context.route().cloned(), rule.clone(), reason);
        if !context.set_decision(decision) {
            let cause = "two layers decided about the same request";
            return Admitted::No(Problem::new(CONTEXT_CONFLICT).cause(cause));
        }
        let problem = match verdict {
            Verdict::Allow => {
                if *rule != Requirement::Public {
                    let authorizer = Arc::clone(&self.authorizer);
                    context.set_authority(authorizer);
                }
                return Admitted::Yes;
            }
            Verdict::StepUp => step_up(context),
            Verdict::Indeterminate => {
                unavailable(context.decision().map_or("", Decision::reason).to_owned())
            }
            _ if is_scope_missing => insufficient_scope(context),
            _ if context.identity().is_some() => PERMISSION_DENIED.into(),
            _ => challenged(context),
        };
        Admitted::No(problem)
    }
}

/// 401 with the challenges that authentication left; 403 where there is no way to authenticate.
pub(crate) fn challenged(context: &Context) -> Problem {
    context.auth().and_then(AuthState::challenge).unwrap_or(PERMISSION_DENIED.into())
}

/// 503: whoever could tell whether the caller may cannot be asked, or does not know.
pub(crate) fn unavailable(reason: impl Into<BoxError>) -> Problem {
    let after = HeaderValue::from_static("5");
    Problem::new(AUTHORIZATION_UNAVAILABLE).cause(reason).header(http::header::RETRY_AFTER, after)
}

/// By which scheme the caller came (RFC 9449, section 7.1).
fn scheme(context: &Context) -> &'static str {
    let has_proof = context.identity().is_some_and(|it| it.methods().any(|how| how == "dpop"));
    if has_proof { "DPoP" } else { "Bearer" }
}

fn with_challenge(problem: Problem, challenge: String) -> Problem {
    let challenge = HeaderValue::try_from(challenge).into_iter();
    challenge.fold(problem, |problem, challenge| problem.header(WWW_AUTHENTICATE, challenge))
}

/// 403 that says which scopes would do (RFC 6750, section 3.1).
fn insufficient_scope(context: &Context) -> Problem {
    let scopes = context.route().map(|route| route.access().scopes().collect::<Vec<_>>().join(" "));
    let (scheme, scopes) = (scheme(context), scopes.unwrap_or_default());
    let challenge = format!("{scheme} error=\"insufficient_scope\", scope=\"{scopes}\"");
    with_challenge(Problem::new(SCOPE_INSUFFICIENT), challenge)
}

/// 401 that asks for a stronger authentication, or a fresher one (RFC 9470, section 3).
fn step_up(context: &Context) -> Problem {
    let asked = context.route().and_then(|route| route.access().step_up()).unwrap_or_default();
    let mut challenge = format!("{} error=\"insufficient_user_authentication\"", scheme(context));
    if let Some(level) = asked.level {
        // Writing to a string never fails.
        _ = write!(challenge, ", acr_values=\"{level}\"");
    }
    if let Some(age) = asked.max_age {
        _ = write!(challenge, ", max_age=\"{}\"", age.as_secs());
    }
    let problem = with_challenge(Problem::new(STEP_UP_REQUIRED), challenge);
    // Where another log-in would do, a browser is sent there; where it would not, it would be sent there again and again.
    let would_do = context.decision().is_some_and(|it| it.reason() == LOG_IN_TOO_LONG_AGO);
    let page = context.identity().and_then(Identity::log_in_page).filter(|_| would_do);
    match page {
        Some(page) => problem.log_in(page),
        None => problem,
    }
}
