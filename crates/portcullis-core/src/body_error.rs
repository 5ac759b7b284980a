//! What can go wrong while a request body is read.
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::problem::kinds;
use crate::{BoxError, Problem, ProblemKind};

/// Why a request body could not be read to its end. The server's body fails with it.
///
/// Whoever reads the body may wrap it, so that a handler or a layer sees an error of another type:
/// [`find`](Self::find) looks behind those, and [`problem`](Self::problem) is what to answer.
///
/// ```
/// use portcullis_core::{BodyError, BodyErrorKind};
/// let wrapped = std::io::Error::other(BodyError::new(BodyErrorKind::TooLarge));
/// let found = BodyError::find(&wrapped).unwrap();
/// assert_eq!(found.problem().status(), 413);
/// ```
#[derive(Clone, Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What went wrong with a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// It is larger than its [`BodyLimit`](crate::BodyLimit).
    TooLarge,
    /// It paused for too long, or came too slowly.
    TooSlow,
    /// A chunk is broken, the length is wrong, or the client went away before the end.
    Malformed,
}

impl BodyErrorKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::TooLarge, Self::TooSlow, Self::Malformed];

    /// The kind of problem that it is to the client.
    pub const fn problem_kind(self) -> ProblemKind {
        match self {
            Self::TooLarge => kinds::BODY_TOO_LARGE,
            Self::TooSlow => kinds::BODY_TOO_SLOW,
            Self::Malformed => kinds::BODY_MALFORMED,
        }
    }
}

impl BodyError {
    /// An error of this kind.
    pub fn new(kind: BodyErrorKind) -> Self {
        Self { kind, cause: None }
    }
    /// What led to it, for the log. The client never sees it. Default: nothing.
    #[must_use]
    pub fn cause(self, cause: impl Into<BoxError>) -> Self {
        Self { cause: Some(Arc::from(cause.into())), ..self }
    }
    /// What went wrong.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }
    /// The first one in a chain of errors: `error` itself, its [source](Error::source), and so on.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let behind = |error: &'a (dyn Error + 'static)| {
            // The source of an I/O error is the source of the error that it carries, which would be passed over.
            let carried = error.downcast_ref().and_then(io::Error::get_ref);
            carried.map(|carried| carried as &(dyn Error + 'static)).or_else(|| error.source())
        };
        std::iter::successors(Some(error), |error| behind(*error))
            .find_map(<dyn Error>::downcast_ref)
    }
    /// What to answer.
    pub fn problem(&self) -> Problem {
        Problem::new(self.kind.problem_kind()).cause(self.clone())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyErrorKind::TooLarge => "the request body is too large",
            BodyErrorKind::TooSlow => "the request body came too slowly",
            BodyErrorKind::Malformed => "the request body is broken",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
