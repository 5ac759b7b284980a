//! What a route asks of the caller.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a route asks of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    requirement: Requirement,
    scopes: Vec<Arc<str>>,
    issuers: Vec<Arc<str>>,
    step_up: Option<StepUp>,
    checks_objects: bool,
}

/// A stronger, or a fresher, proof of identity than somebody need have who is merely known (RFC 9470).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StepUp {
    /// The assurance level that is asked for (NIST SP 800-63B: 1 to 3). Default: 2, which is two factors. `None` asks for none.
    pub level: Option<u8>,
    /// How long ago the caller may have logged in. Default: at any time.
    pub max_age: Option<Duration>,
}

impl Default for StepUp {
    fn default() -> Self {
        Self { level: Some(2), max_age: None }
    }
}

impl StepUp {
    /// Any level, and a log-in at most this long ago.
    pub const fn fresh(max_age: Duration) -> Self {
        Self { level: None, max_age: Some(max_age) }
    }
    /// Also a log-in at most this long ago.
    #[must_use]
    pub const fn within(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }
    /// Asks for this assurance level.
    #[must_use]
    pub const fn at_level(self, level: u8) -> Self {
        Self { level: Some(level), ..self }
    }
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
        Self {
            requirement,
            scopes: Vec::new(),
            issuers: Vec::new(),
            step_up: None,
            checks_objects: false,
        }
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
    /// Also asks for a stronger, or a fresher, proof of identity (RFC 9470). Default: no.
    #[must_use]
    pub fn with_step_up(self, asked: StepUp) -> Self {
        Self { step_up: Some(asked), ..self }
    }
    /// Says that the endpoint looks at who may do something with the very object that it is about, so that a caller passes who may with some
    /// objects, such as their own. Default: no.
    #[must_use]
    pub fn with_object_check(self) -> Self {
        Self { checks_objects: true, ..self }
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
    /// Which stronger, or fresher, proof of identity is asked for.
    pub fn step_up(&self) -> Option<StepUp> {
        self.step_up
    }
    /// Whether the endpoint looks at who may do something with its very object.
    pub fn checks_objects(&self) -> bool {
        self.checks_objects
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
        if self.checks_objects {
            f.write_str(", by object")?;
        }
        let Some(StepUp { level, max_age }) = self.step_up else { return Ok(()) };
        f.write_str(", step-up")?;
        if let Some(level) = level.filter(|level| Some(*level) != StepUp::default().level) {
            write!(f, " to level {level}")?;
        }
        max_age.map_or(Ok(()), |age| write!(f, " within {age:?}"))
    }
}
