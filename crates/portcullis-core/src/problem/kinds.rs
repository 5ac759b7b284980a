//! The kinds of problem that core itself answers with.
use http::StatusCode;

use super::ProblemKind;

/// The request's target or host is not one that can be read in only one way.
pub const TARGET_INVALID: ProblemKind =
    ProblemKind::new("target-invalid", StatusCode::BAD_REQUEST, "The request target is not valid");
/// Trusted proxies disagree about who the client is.
pub const FORWARDING_AMBIGUOUS: ProblemKind = ProblemKind::new(
    "forwarding-ambiguous",
    StatusCode::BAD_REQUEST,
    "The forwarding headers contradict each other",
);
/// No route has this path.
pub const ROUTE_NOT_FOUND: ProblemKind =
    ProblemKind::new("route-not-found", StatusCode::NOT_FOUND, "There is nothing at this address");
/// The path has routes, but none for this method.
pub const METHOD_NOT_ALLOWED: ProblemKind = ProblemKind::new(
    "method-not-allowed",
    StatusCode::METHOD_NOT_ALLOWED,
    "The method is not allowed at this address",
);
/// The route asks who is calling, and nobody said.
pub const AUTHENTICATION_REQUIRED: ProblemKind = ProblemKind::new(
    "authentication-required",
    StatusCode::UNAUTHORIZED,
    "You must say who you are to use this address",
);
/// No layer has found out who is calling.
pub const AUTHENTICATION_MISSING: ProblemKind = ProblemKind::new(
    "authentication-missing",
    StatusCode::INTERNAL_SERVER_ERROR,
    "The server is not set up to find out who is calling",
);
/// A route that is not public was reached without a decision that allows it.
pub const AUTHORIZATION_MISSING: ProblemKind = ProblemKind::new(
    "authorization-missing",
    StatusCode::INTERNAL_SERVER_ERROR,
    "The server is not set up to decide about this request",
);
/// The request's URI is no longer the target that was authorized.
pub const TARGET_CHANGED: ProblemKind = ProblemKind::new(
    "target-changed",
    StatusCode::INTERNAL_SERVER_ERROR,
    "The server changed the request target after it was checked",
);
/// The route table has mistakes.
pub const CONFIGURATION_INVALID: ProblemKind = ProblemKind::new(
    "configuration-invalid",
    StatusCode::INTERNAL_SERVER_ERROR,
    "The server is not set up correctly",
);
/// Two layers set the same fact about one request.
pub const CONTEXT_CONFLICT: ProblemKind = ProblemKind::new(
    "context-conflict",
    StatusCode::INTERNAL_SERVER_ERROR,
    "The server is not set up correctly",
);
/// The application failed.
pub const INTERNAL_ERROR: ProblemKind =
    ProblemKind::new("internal-error", StatusCode::INTERNAL_SERVER_ERROR, "The server failed");

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[
    TARGET_INVALID,
    FORWARDING_AMBIGUOUS,
    ROUTE_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    AUTHENTICATION_REQUIRED,
    AUTHENTICATION_MISSING,
    AUTHORIZATION_MISSING,
    TARGET_CHANGED,
    CONFIGURATION_INVALID,
    CONTEXT_CONFLICT,
    INTERNAL_ERROR,
];
