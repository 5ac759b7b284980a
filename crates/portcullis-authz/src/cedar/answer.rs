//! What Cedar has answered.
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Decision, PolicyId, Response};

use crate::Opinion;

/// What Cedar has decided, and by which policies. Policies are called by their annotation `@id("..")` where they have one, otherwise `policy0`,
/// `policy1` and so on, as they come in the text; of several the names are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CedarAnswer {
    decision: Decision,
    determining: Vec<Arc<str>>,
    erroring: Vec<(Arc<str>, String)>,
}

impl CedarAnswer {
    pub(super) fn new(response: &Response, name: impl Fn(&PolicyId) -> Arc<str>) -> Self {
        let diagnostics = response.diagnostics();
        let mut determining: Vec<_> = diagnostics.reason().map(&name).collect();
        determining.sort_unstable();
        let erroring = diagnostics.errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => {
                (name(error.policy_id()), error.inner().to_string())
            }
        });
        let mut erroring: Vec<_> = erroring.collect();
        erroring.sort_unstable();
        Self { decision: response.decision(), determining, erroring }
    }
    /// Cedar's own decision. An allowance is none yet where a policy [could not be evaluated](Self::erroring): ask [`opinion`](Self::opinion).
    pub fn decision(&self) -> Decision {
        self.decision
    }
    /// The policies that it was decided by: those that permit it, or those that forbid it. None where no policy has a say.
    pub fn determining(&self) -> impl ExactSizeIterator<Item = &str> {
        self.determining.iter().map(|name| &**name)
    }
    /// The policies that could not be evaluated, each with the reason.
    pub fn erroring(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.erroring.iter().map(|(name, why)| (&**name, &**why))
    }
    /// What the layer makes of it. Cedar leaves out a policy that cannot be evaluated, and would let somebody in whom it might have forbidden: then it
    /// cannot be told whether they may.
    pub fn opinion(&self) -> Opinion {
        match self.decision {
            Decision::Allow if self.erroring.is_empty() => Opinion::allow(self.by()),
            Decision::Allow => Opinion::indeterminate(self.faults()),
            Decision::Deny if !self.determining.is_empty() => Opinion::deny(self.by()),
            Decision::Deny if self.erroring.is_empty() => Opinion::deny("no policy permits it"),
            Decision::Deny => Opinion::deny(format!("no policy permits it; {}", self.faults())),
        }
    }
    /// The same answer, in whose reasons `told` stands for each thing.
    pub(super) fn tell(mut self, told: impl Fn(String) -> String) -> Self {
        for (_, why) in &mut self.erroring {
            *why = told(std::mem::take(why));
        }
        self
    }
    fn by(&self) -> String {
        let policies = if self.determining.len() == 1 { "policy" } else { "policies" };
        format!("by {policies} {}", self.determining.join(", "))
    }
    fn faults(&self) -> String {
        let faults = self.erroring.iter();
        let faults: Vec<_> =
            faults.map(|(name, why)| format!("policy {name} cannot be evaluated: {why}")).collect();
        faults.join("; ")
    }
}
