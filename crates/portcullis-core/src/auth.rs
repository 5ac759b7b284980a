//! What authentication found out, and what must not travel on.
use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue};

use crate::problem::kinds::AUTHENTICATION_REQUIRED;
use crate::{Identity, Problem};

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
    /// What to answer an anonymous caller who must say who they are: 401 with the challenges. `None` where there is no
    /// way to say it, and for a caller who is known.
    pub fn challenge(&self) -> Option<Problem> {
        match self {
            Self::Anonymous(challenges) if !challenges.values.is_empty() => {
                let problem = challenges.on(Problem::new(AUTHENTICATION_REQUIRED));
                Some(match &challenges.log_in {
                    Some(path) => problem.log_in(Arc::clone(path)),
                    None => problem,
                })
            }
            _ => None,
        }
    }
}

/// How to say who one is: what `Authorize` answers an anonymous caller with, so that it need not know any scheme.
///
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    values: Arc<[HeaderValue]>,
    log_in: Option<Arc<str>>,
}

impl Challenges {
    /// Challenges for `WWW-Authenticate` (RFC 9110, section 11.6.1), one a scheme.
    pub fn new(challenges: impl IntoIterator<Item = HeaderValue>) -> Self {
        Self { values: challenges.into_iter().collect(), log_in: None }
    }
    /// Where a browser logs in: a path of this site. A page that asks for nobody in particular is answered with a redirect there, which says in `next` where it was; whoever asks for
    /// anything else gets the challenges.
    #[must_use]
    pub fn log_in(self, path: impl Into<Arc<str>>) -> Self {
        Self { log_in: Some(path.into()), ..self }
    }
    /// The values for `WWW-Authenticate`.
    pub fn values(&self) -> &[HeaderValue] {
        &self.values
    }
    /// Puts the challenges on a 401.
    #[must_use]
    pub fn on(&self, problem: Problem) -> Problem {
        let values = self.values.iter().cloned();
        values.fold(problem, |problem, value| problem.header(WWW_AUTHENTICATE, value))
    }
}

/// Exactly what must not go to an upstream, because it is a credential for us. Cheap to clone.
///
/// A cookie is named alone: the other cookies of the same header belong to the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumedCredentials(Arc<Names>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    headers: Vec<HeaderName>,
    cookies: Vec<Arc<str>>,
}

impl ConsumedCredentials {
    /// Nothing is a credential for us.
    pub fn none() -> Self {
        Self::default()
    }
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        Arc::make_mut(&mut self.0).headers.push(name);
        self
    }
    /// Adds a cookie by its name.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.0).cookies.push(name.into());
        self
    }
    /// The headers that must not travel on.
    pub fn headers(&self) -> &[HeaderName] {
        &self.0.headers
    }
    /// The names of the cookies that must not travel on.
    pub fn cookies(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.cookies.iter().map(|name| &**name)
    }
}
