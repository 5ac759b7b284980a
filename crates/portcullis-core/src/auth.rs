//! What authentication found out, and what must not travel on.
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::Identity;

/// What authentication found out about a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AuthState {
    /// Nobody said who they are; the challenges tell them how to.
    Anonymous(Challenges),
    /// It is known who asks.
    Authenticated(Identity),
}

impl AuthState {
    /// Who asks, when it is known.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous(_) => None,
            Self::Authenticated(identity) => Some(identity),
        }
    }
}

/// How to say who one is: what `Authorize` answers an anonymous caller with, so that it need not know any scheme.
///
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<[HeaderValue]>);

impl Challenges {
    /// Challenges for `WWW-Authenticate` (RFC 9110, section 11.6.1), one a scheme.
    pub fn new(challenges: impl IntoIterator<Item = HeaderValue>) -> Self {
        Self(challenges.into_iter().collect())
    }
    /// The values for `WWW-Authenticate`.
    pub fn values(&self) -> &[HeaderValue] {
        &self.0
    }
}

/// Exactly what must not go to an upstream, because it was a credential for us.
///
/// A cookie is named alone: the other cookies of the same header belong to the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumedCredentials {
    headers: Vec<HeaderName>,
    cookies: Vec<Arc<str>>,
}

impl ConsumedCredentials {
    /// Nothing was consumed.
    pub const fn none() -> Self {
        Self { headers: Vec::new(), cookies: Vec::new() }
    }
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }
    /// Adds a cookie by its name.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        self.cookies.push(name.into());
        self
    }
    /// The headers that must not travel on.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }
    /// The names of the cookies that must not travel on.
    pub fn cookies(&self) -> impl ExactSizeIterator<Item = &str> {
        self.cookies.iter().map(|name| &**name)
    }
}
