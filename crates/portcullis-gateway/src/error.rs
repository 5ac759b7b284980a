//! What can go wrong on the way to a server, and what the client hears of it.
use std::time::Duration;

use http::StatusCode;
use portcullis_core::problem::Source;
use portcullis_core::{BodyError, BoxError, Problem, ProblemKind};
use portcullis_resilience::kinds::unavailable;

use crate::server::Server;

/// The kinds of problem that the gateway answers with.
pub mod kinds {
    use super::{ProblemKind, StatusCode};
    pub use portcullis_resilience::kinds::{UPSTREAM_TIMEOUT, UPSTREAM_UNAVAILABLE};

    /// No server took a connection. Nothing was sent.
    pub const UPSTREAM_UNREACHABLE: ProblemKind = ProblemKind::new(
        "upstream-unreachable",
        StatusCode::BAD_GATEWAY,
        "No server could be reached",
    );
    /// The connection broke before there was an answer.
    pub const UPSTREAM_FAILED: ProblemKind =
        ProblemKind::new("upstream-failed", StatusCode::BAD_GATEWAY, "The server gave no answer");
    /// The answer is none that may be passed on.
    pub const UPSTREAM_INVALID: ProblemKind = ProblemKind::new(
        "upstream-invalid",
        StatusCode::BAD_GATEWAY,
        "The server gave no valid answer",
    );

    /// Every kind in this module.
    pub const ALL: &[ProblemKind] = &[
        UPSTREAM_UNREACHABLE,
        UPSTREAM_FAILED,
        UPSTREAM_INVALID,
        UPSTREAM_TIMEOUT,
        UPSTREAM_UNAVAILABLE,
    ];
}

/// The problem, with its cause; nothing has been sent.
pub(crate) fn unsent(kind: ProblemKind, cause: impl Into<BoxError>) -> Problem {
    if kind == kinds::UPSTREAM_UNAVAILABLE {
        return unavailable(cause, Duration::from_secs(1));
    }
    Problem::new(kind).source(Source::Upstream).cause(cause).retry_is_safe()
}

/// The problem, with its cause; a server may have seen the request.
pub(crate) fn sent(kind: ProblemKind, cause: impl Into<BoxError>) -> Problem {
    Problem::new(kind).source(Source::Upstream).cause(cause)
}

/// What came of sending, where it failed while a server may have been at work on it. `None` where the server is not to blame.
pub(crate) fn broken(error: hyper::Error, server: &Server) -> (Problem, bool) {
    if let Some(body) = BodyError::find(&error) {
        return (body.problem(), false);
    }
    let kind = if error.is_parse() { kinds::UPSTREAM_INVALID } else { kinds::UPSTREAM_FAILED };
    // The request's body failed otherwise than a server of ours lets it.
    let by_us = error.is_user();
    (sent(kind, server.blamed(error)), !by_us)
}
