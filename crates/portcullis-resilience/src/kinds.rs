//! The kinds of problem that callers of others answer with.
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_core::problem::Source;
use portcullis_core::{BoxError, Problem, ProblemKind};
use std::time::Duration;

/// The answer did not come in time.
pub const UPSTREAM_TIMEOUT: ProblemKind = ProblemKind::new(
    "upstream-timeout",
    StatusCode::GATEWAY_TIMEOUT,
    "The server did not answer in time",
);
/// There is no server, or none has room for one more request.
pub const UPSTREAM_UNAVAILABLE: ProblemKind = ProblemKind::new(
    "upstream-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "No server can take the request now",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[UPSTREAM_TIMEOUT, UPSTREAM_UNAVAILABLE];

/// A problem of kind [`UPSTREAM_UNAVAILABLE`]: nobody was asked, and it is worth another try after this time (`Retry-After`).
pub fn unavailable(cause: impl Into<BoxError>, retry_after: Duration) -> Problem {
    let problem = Problem::new(UPSTREAM_UNAVAILABLE).source(Source::Upstream).cause(cause);
    let seconds = retry_after.as_secs_f64().ceil().max(1.0);
    let after = HeaderValue::try_from(format!("{seconds:.0}"));
    let problem =
        after.into_iter().fold(problem, |problem, after| problem.header(RETRY_AFTER, after));
    problem.retry_is_safe()
}

/// How long a server asks to be left alone, where it says so in seconds (RFC 9110, section 10.2.3). A date says nothing here.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
