//! The kinds of problem that rate limits answer with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// The caller has used up a quota.
pub const RATE_LIMITED: ProblemKind =
    ProblemKind::new("rate-limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests");

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[RATE_LIMITED];
