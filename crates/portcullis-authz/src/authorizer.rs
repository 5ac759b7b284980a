//! What an application asks about objects.
use std::sync::Arc;

use portcullis_core::{Context, Identity, Problem, Requirement, Verdict};

use crate::Resource;
use crate::authorize::{challenged, unavailable};
use crate::filter::{Columns, Filter};
use crate::future::in_time;
use crate::judge::Judge;
use crate::kinds::PERMISSION_DENIED;
use crate::live::LiveRoles;
use crate::log::DecisionLog;
use crate::policy::{Opinion, Question};
use crate::roles::Granted;

/// Tells who may do what with which object. Cheap to clone.
///
/// The layer hands its own to the handlers behind it (`Authorized` of `portcullis-axum`; [`of`](Self::of) elsewhere). Without a layer, make one of the roles.
///
/// ```
/// use portcullis_authz::{Authorizer, Resource, Roles};
/// use portcullis_core::Identity;
/// let roles = Roles::builder().role("reader").permits_own("orders:read").build()?;
/// let authorizer = Authorizer::new(roles);
/// let ada = Identity::builder("https://id.example", "ada").role("reader").build();
/// let mine = Resource::new("order", "1").owner(ada.key().to_string());
/// assert!(authorizer.may(&ada, "orders:read", &mine));
/// assert!(!authorizer.may(&ada, "orders:read", &Resource::new("order", "2")));
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Authorizer {
    pub(crate) judge: Arc<Judge>,
    pub(crate) log: Option<DecisionLog>,
}

impl Authorizer {
    /// Decides by these roles.
    pub fn new(roles: impl Into<LiveRoles>) -> Self {
        let judge = Judge { roles: roles.into(), policies: crate::policy::Policies::default() };
        Self { judge: Arc::new(judge), log: None }
    }
    /// That of the layer in front of whoever handles the request; `None` where there is no such layer.
    pub fn of(context: &Context) -> Option<&Self> {
        context.authority()?.downcast_ref()
    }
    /// The roles that decide.
    pub fn roles(&self) -> &LiveRoles {
        &self.judge.roles
    }
    /// Whether the caller may do `action` (a permission) with the object. `false` too when it cannot be told.
    pub fn may(&self, identity: &Identity, action: &str, resource: &Resource) -> bool {
        self.verdict(identity, action, resource).0 == Verdict::Allow
    }
    /// Whether the caller may do `action` (a permission) with the object.
    ///
    /// # Errors
    /// 403 `permission-denied`; 503 `authorization-unavailable` where it cannot be told.
    pub fn check(
        &self,
        identity: &Identity,
        action: &str,
        resource: &Resource,
    ) -> Result<(), Problem> {
        let (verdict, role) = self.verdict(identity, action, resource);
        self.told(None, identity, action, Some(resource), verdict, role)
    }
    /// The same for the caller of a request, in whose context it stays: as what the handler of a route has looked at that is
    /// [`object_checked`](portcullis_core::Rule::object_checked).
    ///
    /// # Errors
    /// As [`check`](Self::check), and 401 for a caller nobody knows.
    pub fn check_in(
        &self,
        context: &Context,
        action: &str,
        resource: &Resource,
    ) -> Result<(), Problem> {
        context.set_object_checked();
        let Some(identity) = context.identity() else { return Err(challenged(context)) };
        let (verdict, role) = self.verdict(identity, action, resource);
        self.told(Some(context), identity, action, Some(resource), verdict, role)
    }
    /// Whether the caller of a request has a permission without a look at any object: what a route asks by
    /// [`require`](portcullis_core::require), asked by its handler. It is no look at an object.
    ///
    /// # Errors
    /// As [`check_in`](Self::check_in).
    pub fn require_in(&self, context: &Context, permission: &str) -> Result<(), Problem> {
        let Some(identity) = context.identity() else { return Err(challenged(context)) };
        let roles = &self.judge.roles;
        let (verdict, role) = match roles.with(|roles| roles.granted(identity, permission)) {
            _ if roles.is_stale() => (Verdict::Indeterminate, None),
            Granted::By(role) => (Verdict::Allow, Some(role)),
            Granted::WithSome | Granted::No => (Verdict::Deny, None),
        };
        self.told(Some(context), identity, permission, None, verdict, role)
    }
    fn told(
        &self,
        context: Option<&Context>,
        identity: &Identity,
        action: &str,
        resource: Option<&Resource>,
        verdict: Verdict,
        role: Option<u32>,
    ) -> Result<(), Problem> {
        let reason = match (verdict, resource) {
            (Verdict::Allow, Some(_)) => "object-permitted",
            (Verdict::Allow, None) => "permission-granted",
            (Verdict::Indeterminate, _) => "roles-stale",
            (_, Some(_)) => "object-not-permitted",
            (_, None) => "permission-missing",
        };
        if let Some(context) = context {
            context.note("authorize", || {
                let on = resource.map(|it| format!(" on {} {}", it.kind(), it.id()));
                let by = role.map(|role| self.by_role(role)).unwrap_or_default();
                format!("{verdict}: {action}{}: {reason}{by}", on.unwrap_or_default())
            });
            if let Some(log) = &self.log {
                let asked = Requirement::Permission(action.into());
                log.object(context, identity, &asked, resource, verdict, reason);
            }
        }
        match verdict {
            Verdict::Allow => Ok(()),
            Verdict::Indeterminate => Err(unavailable(reason)),
            _ => Err(PERMISSION_DENIED.into()),
        }
    }
    pub(crate) fn by_role(&self, role: u32) -> String {
        self.judge.roles.with(|roles| format!(", by role {}", roles.name_of(role)))
    }
    fn verdict(
        &self,
        identity: &Identity,
        action: &str,
        resource: &Resource,
    ) -> (Verdict, Option<u32>) {
        if self.judge.roles.is_stale() {
            return (Verdict::Indeterminate, None);
        }
        match self.judge.roles.with(|roles| roles.granted_on(identity, action, resource)) {
            Some(role) => (Verdict::Allow, Some(role)),
            None => (Verdict::Deny, None),
        }
    }
    /// What a policy thinks of what somebody wants to do with an object. One that has not answered in the time that the request has, or in five
    /// seconds, cannot tell.
    ///
    /// # Cancellation
    /// The policy is dropped where it waits.
    pub async fn ask(
        &self,
        policy: &str,
        context: &Context,
        head: &http::request::Parts,
        (action, resource): (&str, &Resource),
    ) -> Opinion {
        context.set_object_checked();
        let Some(policy) = self.judge.policies.get(policy) else {
            return Opinion::indeterminate("policy-unknown");
        };
        let Some(identity) = context.identity() else { return Opinion::deny("not-authenticated") };
        let question = Question {
            action: Some(action),
            resource: Some(resource),
            roles: Some(&self.judge.roles),
            ..Question::about(context, identity, head)
        };
        match policy.decide_now(&question) {
            Some(opinion) => opinion,
            None => in_time(&**policy, &question).await,
        }
    }
    /// Which rows of a table the caller may do `action` with: what [`check`](Self::check) says of each, as one condition of SQL.
    ///
    /// # Errors
    /// 503 `authorization-unavailable` where it cannot be told, or where the caller has roles at more than 5,000 places.
    pub fn filter(
        &self,
        identity: &Identity,
        action: &str,
        columns: Columns,
    ) -> Result<Filter, Problem> {
        if self.judge.roles.is_stale() {
            return Err(unavailable("roles-stale"));
        }
        let filter = self.judge.roles.with(|roles| Filter::new(roles, identity, action, columns));
        if filter.is_too_large() {
            return Err(unavailable("the caller has roles at more places than a query can name"));
        }
        Ok(filter)
    }
    /// The same for the caller of a request, in whose context it stays that it was asked for. Nobody sees nothing.
    ///
    /// # Errors
    /// As [`filter`](Self::filter).
    pub fn filter_in(
        &self,
        context: &Context,
        action: &str,
        columns: Columns,
    ) -> Result<Filter, Problem> {
        context.set_object_checked();
        match context.identity() {
            Some(identity) => self.filter(identity, action, columns),
            None => Ok(Filter::nothing(columns)),
        }
    }
}
