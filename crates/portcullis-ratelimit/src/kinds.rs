//! The kinds of problem that rate limits answer with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// The caller has used up a quota.
pub const QUOTA_EXCEEDED: ProblemKind =
    ProblemKind::registered("quota-exceeded", StatusCode::TOO_MANY_REQUESTS, "Too many requests");
/// The store of a quota cannot answer, and nobody gets through until it does.
pub const TEMPORARY_REDUCED_CAPACITY: ProblemKind = ProblemKind::registered(
    "temporary-reduced-capacity",
    StatusCode::TOO_MANY_REQUESTS,
    "Fewer requests than usual can be served",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[QUOTA_EXCEEDED, TEMPORARY_REDUCED_CAPACITY];
