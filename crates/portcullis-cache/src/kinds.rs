//! The kinds of problem that the cache answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// The client takes only what is stored (`only-if-cached`, RFC 9111, section 5.2.1.7), and nothing that fits is.
pub const NOT_CACHED: ProblemKind =
    ProblemKind::new("not-cached", StatusCode::GATEWAY_TIMEOUT, "Nothing that fits is stored");

/// What was to be taken out of the cache is still in it, since its store does not answer.
pub const CACHE_UNAVAILABLE: ProblemKind = ProblemKind::new(
    "cache-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "The cache cannot be reached",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[NOT_CACHED, CACHE_UNAVAILABLE];
