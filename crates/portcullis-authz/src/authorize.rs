//! The authorization layer.
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds::{
    AUTHENTICATION_MISSING, AUTHORIZATION_MISSING, CONTEXT_CONFLICT,
};
use portcullis_core::stack::{Enforcement, KnownCaller, KnownRoute, Plan, Staged};
use portcullis_core::{
    AuthState, Body, BoxError, ConfigError, Context, Decision, Identity, Problem, Refusable,
    Requirement, Route, Verdict, is_scope, stage,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::compiled::{Compiled, objection};
use crate::kinds::{PERMISSION_DENIED, SCOPE_INSUFFICIENT, STEP_UP_REQUIRED};
use crate::roles::{RoleSet, Roles};

/// The assurance level that satisfies a step-up (NIST SP 800-63B: two factors).
const STEPPED_UP: u8 = 2;

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
    policy: Arc<Policy>,
    kind: PhantomData<fn() -> K>,
}

#[derive(Debug)]
struct Policy {
    roles: Roles,
    fixed: Option<(Requirement, RoleSet)>,
    compiled: OnceLock<Compiled>,
}

impl AuthorizeLayer<ByRoute> {
    /// Decides by the access that each route states.
    pub fn new(roles: Roles) -> Self {
        Self::of(Policy { roles, fixed: None, compiled: OnceLock::new() })
    }
    /// Also asks every caller for `permission`; needs no route table then.
    pub fn require(self, permission: impl Into<Arc<str>>) -> AuthorizeLayer<Fixed> {
        let permission = permission.into();
        let roles = self.policy.roles.clone();
        let set = roles.granting(&permission);
        AuthorizeLayer::of(Policy {
            roles,
            fixed: Some((Requirement::Permission(permission), set)),
            compiled: OnceLock::new(),
        })
    }
}

impl<K> AuthorizeLayer<K> {
    fn of(policy: Policy) -> Self {
        Self { policy: Arc::new(policy), kind: PhantomData }
    }
    fn check_table(&self, plan: &mut Plan) {
        if let Some((requirement, _)) = &self.policy.fixed {
            plan.errors(objection(&self.policy.roles, requirement, "AuthorizeLayer"));
        }
        let known: HashSet<_> = self.policy.roles.names().collect();
        let unknown = plan.mentioned_roles().filter(|(_, role)| !known.contains(role));
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
            plan.errors(objection(&self.policy.roles, route.access().requirement(), &place));
            let asks = route.access().scopes().len() > 0 || route.access().issuers().len() > 0;
            if asks && route.access().is_public() {
                let message = "it is public, so nobody's credentials are looked at, and its scopes and issuers mean nothing: make it \
                               `optional` or `authenticated`, or drop them";
                plan.errors([ConfigError::new(&place, message)]);
            }
            plan.errors(route.access().scopes().filter(|scope| !is_scope(scope)).map(|scope| {
                let message =
                    "is no scope: a word of printable ASCII without spaces, `\"` and `\\`";
                ConfigError::new(&place, format!("`{scope}` {message}"))
            }));
            if self.policy.fixed.is_some() && route.access().is_public() {
                let message = "it is public, so nobody's credentials are looked at, but `AuthorizeLayer::require` asks \
                               everybody for a permission: make the route `optional`, or drop `require`";
                plan.errors([ConfigError::new(&place, message)]);
            }
        }
        self.policy.compiled.get_or_init(|| Compiled::new(&table, &self.policy.roles));
    }
}

impl<K> Clone for AuthorizeLayer<K> {
    fn clone(&self) -> Self {
        Self { policy: Arc::clone(&self.policy), kind: PhantomData }
    }
}

impl<K> fmt::Debug for AuthorizeLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer").field("policy", &self.policy).finish()
    }
}

impl<S, K> Layer<S> for AuthorizeLayer<K> {
    type Service = Authorize<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Authorize { inner, policy: Arc::clone(&self.policy) }
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

/// Lets a request through only when its caller may: 401 for a caller nobody knows, 403 for one who may not.
///
/// The [`Decision`] stays in the context, also when the answer is no.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Authorize<S>
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
        match self.policy.admit(&context) {
            Ok(()) => Refusable::calling(self.inner.call(request)),
            Err(problem) => Refusable::answered(problem.respond(&context)),
        }
    }
}

/// Why a caller is refused who lacks a scope.
const SCOPE_MISSING: &str = "scope-missing";

/// A verdict, the rule behind it, and why.
type Judgement<'a> = (Verdict, &'a Requirement, &'static str);

impl Policy {
    fn admit(&self, context: &Context) -> Result<(), Problem> {
        let (verdict, rule, reason) = self.judge(context)?;
        context.note("authorize", || format!("{verdict}: {rule}: {reason}"));
        let decision = Decision::new(verdict, context.route().cloned(), rule.clone(), reason);
        if !context.set_decision(decision) {
            return Err(
                Problem::new(CONTEXT_CONFLICT).cause("two layers decided about the same request")
            );
        }
        match verdict {
            Verdict::Allow => Ok(()),
            Verdict::StepUp => Err(step_up()),
            _ if reason == SCOPE_MISSING => Err(insufficient_scope(context)),
            _ if context.identity().is_some() => Err(PERMISSION_DENIED.into()),
            _ => Err(challenged(context)),
        }
    }

    /// Decides, by the layer's own requirement and the route's; the first that does not allow counts.
    fn judge<'a>(&'a self, context: &'a Context) -> Result<Judgement<'a>, Problem> {
        let route = context.route();
        let own = self.fixed.as_ref().map(|(requirement, set)| (requirement, Some(set)));
        let routed = route.map(|route| (route.access().requirement(), self.granting(route)));
        if own.is_none() && routed.is_none() {
            let cause = "no route layer has seen the request: put one in front, or say `AuthorizeLayer::require`";
            return Err(Problem::new(AUTHORIZATION_MISSING).cause(cause));
        }
        let mut judgement = (Verdict::Deny, &Requirement::Public, "no-rule");
        for (requirement, set) in own.into_iter().chain(routed) {
            judgement = self.judge_one(context, route, requirement, set)?;
            if judgement.0 != Verdict::Allow {
                return Ok(judgement);
            }
        }
        if let (Some(route), Some(identity)) = (route, context.identity()) {
            let access = route.access();
            if !access.takes(identity.issuer()) {
                return Ok((Verdict::Deny, judgement.1, "issuer-not-taken"));
            }
            if !access.scopes().all(|asked| identity.scopes().any(|scope| scope == asked)) {
                return Ok((Verdict::Deny, judgement.1, SCOPE_MISSING));
            }
        }
        let step_up = route.is_some_and(|route| route.access().step_up());
        if step_up && context.identity().is_none() {
            return Ok((Verdict::Deny, judgement.1, "not-authenticated"));
        }
        let level = context.identity().and_then(Identity::assurance);
        if step_up && level.is_none_or(|level| level < STEPPED_UP) {
            return Ok((Verdict::StepUp, judgement.1, "assurance-too-low"));
        }
        Ok(judgement)
    }

    fn judge_one<'a>(
        &self,
        context: &Context,
        route: Option<&Route>,
        requirement: &'a Requirement,
        set: Option<&RoleSet>,
    ) -> Result<Judgement<'a>, Problem> {
        if *requirement == Requirement::Public {
            return Ok((Verdict::Allow, requirement, "public"));
        }
        let Some(auth) = context.auth() else {
            let cause = "no layer has found out who is calling: put `AuthenticateLayer` in front of `AuthorizeLayer`";
            return Err(Problem::new(AUTHENTICATION_MISSING).cause(cause));
        };
        let identity = AuthState::identity(auth);
        Ok(match (requirement, identity) {
            (Requirement::Optional, _) => (Verdict::Allow, requirement, "optional"),
            (_, None) => (Verdict::Deny, requirement, "not-authenticated"),
            (Requirement::Authenticated, Some(_)) => (Verdict::Allow, requirement, "authenticated"),
            (Requirement::Permission(permission), Some(identity)) => {
                // A table that the stack did not start with is asked by name.
                let granted = match set {
                    Some(set) => self.roles.any_in(identity, set),
                    None => identity.roles().any(|role| self.roles.grants(role, permission)),
                };
                if granted {
                    (Verdict::Allow, requirement, "permission-granted")
                } else {
                    (Verdict::Deny, requirement, "permission-missing")
                }
            }
            // Whatever cannot be evaluated is refused.
            _ => {
                context.note("authorize", || {
                    format!("{route:?} has a requirement that nobody can evaluate")
                });
                (Verdict::Indeterminate, requirement, "not-evaluable")
            }
        })
    }

    fn granting(&self, route: &Route) -> Option<&RoleSet> {
        self.compiled
            .get_or_init(|| Compiled::new(route.table(), &self.roles))
            .granting(route.table(), route.index())
    }
}

/// 401 with the challenges that authentication left; 403 where there is no way to authenticate.
fn challenged(context: &Context) -> Problem {
    context.auth().and_then(AuthState::challenge).unwrap_or(PERMISSION_DENIED.into())
}

/// 403 that says which scopes would do (RFC 6750, section 3.1), by the scheme that the caller came with (RFC 9449, section 7.1).
fn insufficient_scope(context: &Context) -> Problem {
    let scopes = context.route().map(|route| route.access().scopes().collect::<Vec<_>>().join(" "));
    let has_proof = context.identity().is_some_and(|it| it.methods().any(|how| how == "dpop"));
    let scheme = if has_proof { "DPoP" } else { "Bearer" };
    let scopes = scopes.unwrap_or_default();
    let challenge = format!("{scheme} error=\"insufficient_scope\", scope=\"{scopes}\"");
    let challenge = HeaderValue::try_from(challenge).into_iter();
    challenge.fold(Problem::new(SCOPE_INSUFFICIENT), |problem, challenge| {
        problem.header(WWW_AUTHENTICATE, challenge)
    })
}

/// 401 that asks for a stronger authentication (RFC 9470, section 3).
fn step_up() -> Problem {
    let challenge = HeaderValue::from_static(
        "Bearer error=\"insufficient_user_authentication\", acr_values=\"2\"",
    );
    Problem::new(STEP_UP_REQUIRED).header(WWW_AUTHENTICATE, challenge)
}
