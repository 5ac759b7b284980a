//! What a route asks of the caller.
use std::fmt;
use std::sync::Arc;

/// What a route asks of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    requirement: Requirement,
    step_up: bool,
}

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// Everybody; no credential is looked at and no session is touched.
    Public,
    /// Everybody; who they are is found out where they say it.
    Optional,
    /// Everybody who says who they are.
    Authenticated,
    /// Those whose roles grant this permission.
    Permission(Arc<str>),
    /// Those whom this policy allows.
    Policy(Arc<str>),
}

impl Access {
    /// Access by this requirement, without step-up.
    pub const fn new(requirement: Requirement) -> Self {
        Self { requirement, step_up: false }
    }
    /// Also asks for a recent, stronger proof of identity (RFC 9470). Default: no.
    #[must_use]
    pub fn with_step_up(self) -> Self {
        Self { step_up: true, ..self }
    }
    /// Who may call.
    pub fn requirement(&self) -> &Requirement {
        &self.requirement
    }
    /// Whether a recent, stronger proof of identity is asked for.
    pub fn step_up(&self) -> bool {
        self.step_up
    }
    /// Whether everybody may call and no credential is looked at.
    pub fn is_public(&self) -> bool {
        self.requirement == Requirement::Public
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Optional => f.write_str("optional"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Permission(name) => write!(f, "permission {name}"),
            Self::Policy(name) => write!(f, "policy {name}"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.requirement.fmt(f)?;
        f.write_str(if self.step_up { ", step-up" } else { "" })
    }
}
