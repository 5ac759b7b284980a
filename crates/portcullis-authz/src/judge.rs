//! May they: one place decides, whoever asks.
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use portcullis_core::problem::kinds::{AUTHENTICATION_MISSING, AUTHORIZATION_MISSING};
use portcullis_core::{
    AuthState, ConfigError, Context, Identity, Problem, Requirement, Route, StepUp, Verdict,
};

use crate::live::LiveRoles;
use crate::policy::{Opinion, Policies, Policy, Question};
use crate::roles::{Granted, Roles};

/// What decides: roles and policies.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) roles: LiveRoles,
    pub(crate) policies: Policies,
}

/// The head of a request.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// A verdict, the rule behind it, and why.
#[derive(Clone, Debug)]
pub(crate) struct Judgement<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) rule: &'a Requirement,
    pub(crate) reason: Cow<'static, str>,
    /// By the number it has now; for those who want to know more.
    pub(crate) role: Option<u32>,
}

/// What came of a look at a request.
pub(crate) enum Judged<'a> {
    Judgement(Judgement<'a>),
    /// It is known when this policy has been asked.
    Ask(Arc<dyn Policy>),
}

/// Why a caller is refused who lacks a scope.
pub(crate) const SCOPE_MISSING: &str = "scope-missing";
/// Why a caller must log in once more.
pub(crate) const LOG_IN_TOO_LONG_AGO: &str = "log-in-too-long-ago";

fn judgement<'a>(verdict: Verdict, rule: &'a Requirement, reason: &'static str) -> Judgement<'a> {
    Judgement { verdict, rule, reason: Cow::Borrowed(reason), role: None }
}

impl Judge {
    /// Decides, by the layer's own requirement and the route's; the first that does not allow counts. What a policy thinks comes with it the second time.
    pub(crate) fn judge<'a>(
        &self,
        own: Option<&'a Requirement>,
        context: &'a Context,
        head: Option<Head<'_>>,
        mut opinion: Option<Opinion>,
    ) -> Result<Judged<'a>, Problem> {
        let route = context.route();
        let routed = route.map(|route| route.access().requirement());
        if own.is_none() && routed.is_none() {
            let cause = "no route layer has seen the request: put one in front, or say `AuthorizeLayer::require`";
            return Err(Problem::new(AUTHORIZATION_MISSING).cause(cause));
        }
        let mut latest = judgement(Verdict::Deny, &Requirement::Public, "no-rule");
        for (requirement, route) in
            own.map(|own| (own, None)).into_iter().chain(routed.map(|routed| (routed, route)))
        {
            // Only a policy has one, and the layer's own requirement comes first.
            let is_asked = matches!(requirement, Requirement::Policy(_));
            let opinion = if is_asked { opinion.take() } else { None };
            match self.judge_one(context, route, requirement, head, opinion)? {
                Judged::Judgement(judged) if judged.verdict == Verdict::Allow => latest = judged,
                other => return Ok(other),
            }
        }
        let rule = latest.rule;
        if let (Some(route), Some(identity)) = (route, context.identity()) {
            let access = route.access();
            if !access.takes(identity.issuer()) {
                return Ok(Judged::Judgement(judgement(Verdict::Deny, rule, "issuer-not-taken")));
            }
            if !access.scopes().all(|asked| identity.scopes().any(|scope| scope == asked)) {
                return Ok(Judged::Judgement(judgement(Verdict::Deny, rule, SCOPE_MISSING)));
            }
        }
        if let Some(asked) = route.and_then(|route| route.access().step_up()) {
            let Some(identity) = context.identity() else {
                return Ok(Judged::Judgement(judgement(Verdict::Deny, rule, "not-authenticated")));
            };
            if let Some(reason) = too_weak(context, identity, asked) {
                return Ok(Judged::Judgement(judgement(Verdict::StepUp, rule, reason)));
            }
        }
        Ok(Judged::Judgement(latest))
    }

    fn judge_one<'a>(
        &self,
        context: &Context,
        route: Option<&Route>,
        requirement: &'a Requirement,
        head: Option<Head<'_>>,
        opinion: Option<Opinion>,
    ) -> Result<Judged<'a>, Problem> {
        let done = |verdict, reason| Ok(Judged::Judgement(judgement(verdict, requirement, reason)));
        if *requirement == Requirement::Public {
            return done(Verdict::Allow, "public");
        }
        let Some(auth) = context.auth() else {
            let cause = "no layer has found out who is calling: put `AuthenticateLayer` in front of `AuthorizeLayer`";
            return Err(Problem::new(AUTHENTICATION_MISSING).cause(cause));
        };
        if *requirement == Requirement::Optional {
            return done(Verdict::Allow, "optional");
        }
        let Some(identity) = AuthState::identity(auth) else {
            return done(Verdict::Deny, "not-authenticated");
        };
        match requirement {
            Requirement::Authenticated => done(Verdict::Allow, "authenticated"),
            Requirement::Permission(_) | Requirement::Policy(_) if self.roles.is_stale() => {
                done(Verdict::Indeterminate, "roles-stale")
            }
            Requirement::Permission(permission) => {
                let by_object = route.is_some_and(|route| route.access().checks_objects());
                match self.roles.with(|roles| roles.granted(identity, permission)) {
                    Granted::By(role) => Ok(Judged::Judgement(Judgement {
                        role: Some(role),
                        ..judgement(Verdict::Allow, requirement, "permission-granted")
                    })),
                    Granted::WithSome if by_object => {
                        done(Verdict::Allow, "permission-granted-with-some")
                    }
                    Granted::WithSome => done(Verdict::Deny, "permission-with-some-alone"),
                    Granted::No if self.roles.with(|roles| roles.keeps_apart(identity)) => {
                        done(Verdict::Deny, "roles-kept-apart")
                    }
                    Granted::No => done(Verdict::Deny, "permission-missing"),
                }
            }
            Requirement::Policy(name) => {
                let Some(policy) = self.policies.get(name) else {
                    return done(Verdict::Indeterminate, "policy-unknown");
                };
                let opinion = match (opinion, head) {
                    (Some(opinion), _) => opinion,
                    (None, None) => return done(Verdict::Indeterminate, "policy-by-request"),
                    (None, Some(Head { method, uri, headers })) => {
                        let question = Question {
                            context,
                            identity,
                            method,
                            uri,
                            headers,
                            action: None,
                            resource: None,
                            roles: Some(&self.roles),
                        };
                        match policy.decide_now(&question) {
                            Some(opinion) => opinion,
                            None => return Ok(Judged::Ask(Arc::clone(policy))),
                        }
                    }
                };
                let (verdict, reason) = opinion.into_parts();
                Ok(Judged::Judgement(Judgement { verdict, rule: requirement, reason, role: None }))
            }
            // Whatever cannot be evaluated is refused.
            _ => done(Verdict::Indeterminate, "not-evaluable"),
        }
    }

    /// What is wrong with a requirement: a permission that nobody has, a policy that nobody defines.
    pub(crate) fn objection(
        &self,
        requirement: &Requirement,
        with_own: bool,
        place: &str,
    ) -> Option<ConfigError> {
        let roles = self.roles.current();
        let message = match requirement {
            // What a store permits is known later.
            Requirement::Permission(name)
                if !roles.is_granted(name, with_own) && !self.roles.is_stale() =>
            {
                unpermitted(&roles, name)
            }
            Requirement::Policy(name) if self.policies.get(name).is_none() => {
                let known: Vec<_> = self.policies.names().collect();
                let known = match known.as_slice() {
                    [] => "there are none".to_owned(),
                    known => format!("known are `{}`", known.join("`, `")),
                };
                format!("no policy is called `{name}`: {known}")
            }
            _ => return None,
        };
        Some(ConfigError::new(place, message))
    }
}

fn unpermitted(roles: &Roles, name: &str) -> String {
    let message =
        format!("no role grants the permission `{name}`: add it to a role, or correct the name");
    if roles.is_granted(name, true) {
        return format!(
            "{message}; where roles grant it with objects of the caller's own, say `object_checked`, and look at the object"
        );
    }
    message
}

/// How far clocks may differ.
const AHEAD: Duration = Duration::from_secs(60);

/// Why a caller must prove themselves again.
fn too_weak(context: &Context, identity: &Identity, asked: StepUp) -> Option<&'static str> {
    let level = identity.assurance().unwrap_or(0);
    if asked.level.is_some_and(|asked| level < asked) {
        return Some("assurance-too-low");
    }
    let max_age = asked.max_age?;
    let now = context.clock().wall();
    let age = identity.authenticated_at().and_then(|at| match now.duration_since(at) {
        Ok(age) => Some(age),
        // Clocks differ a little; whoever comes from further ahead says nothing that can be believed.
        Err(ahead) => (ahead.duration() <= AHEAD).then_some(Duration::ZERO),
    });
    age.is_none_or(|age| age > max_age).then_some(LOG_IN_TOO_LONG_AGO)
}
