//! May they.
use std::borrow::Cow;
use std::fmt;

use crate::{Requirement, Route};

/// What authorization decided about one request, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    verdict: Verdict,
    route: Option<Route>,
    rule: Requirement,
    reason: Cow<'static, str>,
}

/// The outcome of a [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The request may go on.
    Allow,
    /// It may not.
    Deny,
    /// It may, once the caller has proved itself more strongly.
    StepUp,
    /// The rule could not be evaluated. Treated as a refusal.
    Indeterminate,
}

impl Verdict {
    /// The name that stands in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::StepUp => "step-up",
            Self::Indeterminate => "indeterminate",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Decision {
    /// A decision about `route` (none where there is no route table) by `rule`, with a short reason for the log.
    pub fn new(
        verdict: Verdict,
        route: Option<Route>,
        rule: Requirement,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { verdict, route, rule, reason: reason.into() }
    }
    /// The outcome.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
    /// The route that was decided about.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }
    /// The rule that decided.
    pub fn rule(&self) -> &Requirement {
        &self.rule
    }
    /// Why, in a word or two; of a policy, what it says of it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
    /// Whether this decision allows that very route of that very table.
    pub fn allows(&self, route: &Route) -> bool {
        self.verdict == Verdict::Allow && self.route.as_ref() == Some(route)
    }
}
