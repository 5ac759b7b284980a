//! What a route asks of the caller.
use std::fmt;
use std::sync::Arc;

/// What a route asks of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    requirement: Requirement,
    scopes: Vec<Arc<str>>,
    issuers: Vec<Arc<str>>,
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
    /// Access by this requirement, with whatever scopes, by whatever issuer, without step-up.
    pub const fn new(requirement: Requirement) -> Self {
        Self { requirement, scopes: Vec::new(), issuers: Vec::new(), step_up: false }
    }
    /// Also asks for this scope (RFC 6749, section 3.3): whoever calls must have all that are asked for. Default: none.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scopes.push(scope.into());
        self
    }
    /// Takes callers whom this issuer vouches for ([`Identity::issuer`](crate::Identity::issuer)), beside those of other issuers that are
    /// named, and no others. Default: those of every issuer.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<Arc<str>>) -> Self {
        self.issuers.push(issuer.into());
        self
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
    /// The scopes that whoever calls must have, all of them.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }
    /// The issuers whose callers are taken; none are all.
    pub fn issuers(&self) -> impl ExactSizeIterator<Item = &str> {
        self.issuers.iter().map(|issuer| &**issuer)
    }
    /// Whether callers are taken whom this issuer vouches for.
    pub fn takes(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers().any(|own| own == issuer)
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

/// Whether a text is a scope (RFC 6749, section 3.3): a word of printable ASCII without `"` and `\\`.
pub fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\'))
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
        for scope in &self.scopes {
            write!(f, ", scope {scope}")?;
        }
        for (at, issuer) in self.issuers.iter().enumerate() {
            write!(f, "{}{issuer}", if at == 0 { ", by " } else { " or " })?;
        }
        f.write_str(if self.step_up { ", step-up" } else { "" })
    }
}
