//! Problems as axum responses.
use std::borrow::Cow;
use std::ops::Deref;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use portcullis_core::{BoxError, ProblemKind};

/// A [`portcullis_core::Problem`] that a handler can return.
///
/// ```
/// use http::StatusCode;
/// use portcullis_axum::Problem;
/// use portcullis_core::ProblemKind;
///
/// const BOOK_UNKNOWN: ProblemKind =
///     ProblemKind::new("https://bookshop.example/problems/book-unknown", StatusCode::NOT_FOUND, "No such book");
///
/// async fn book() -> Result<&'static str, Problem> {
///     Err(Problem::new(BOOK_UNKNOWN).detail("there is no book 7"))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Problem(portcullis_core::Problem);

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind) -> Self {
        Self(portcullis_core::Problem::new(kind))
    }
    /// What is wrong with this very request, for the client. Default: none.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(self.0.detail(detail))
    }
    /// An extension member of the answer.
    #[must_use]
    pub fn member(self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        Self(self.0.member(name, value))
    }
    /// A header of the answer.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self(self.0.header(name, value))
    }
    /// The cause, for the log. The client never sees it.
    #[must_use]
    pub fn cause(self, cause: impl Into<BoxError>) -> Self {
        Self(self.0.cause(cause))
    }
    /// The problem itself.
    pub fn into_inner(self) -> portcullis_core::Problem {
        self.0
    }
}

/// What can be asked of the problem.
impl Deref for Problem {
    type Target = portcullis_core::Problem;
    fn deref(&self) -> &portcullis_core::Problem {
        &self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response().map(Body::new)
    }
}

impl From<portcullis_core::Problem> for Problem {
    fn from(problem: portcullis_core::Problem) -> Self {
        Self(problem)
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}
