//! The kinds of problem that core itself answers with, and those that a server and the layers share.
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
/// A part of the request is not what can be served: its framing, a header, or what a handler takes.
pub const REQUEST_INVALID: ProblemKind =
    ProblemKind::new("request-invalid", StatusCode::BAD_REQUEST, "The request is not valid");
/// The method is one that nobody defined.
pub const METHOD_UNKNOWN: ProblemKind =
    ProblemKind::new("method-unknown", StatusCode::NOT_IMPLEMENTED, "The method is not known");
/// The method is one that this server serves nowhere.
pub const METHOD_REFUSED: ProblemKind = ProblemKind::new(
    "method-refused",
    StatusCode::METHOD_NOT_ALLOWED,
    "The method is not served here",
);
/// The request target is longer than the server reads.
pub const TARGET_TOO_LONG: ProblemKind =
    ProblemKind::new("target-too-long", StatusCode::URI_TOO_LONG, "The request target is too long");
/// The headers are more or larger than the server reads.
pub const HEADERS_TOO_LARGE: ProblemKind = ProblemKind::new(
    "headers-too-large",
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The request headers are too large",
);
/// The head of the request did not come in time.
pub const REQUEST_TIMEOUT: ProblemKind = ProblemKind::new(
    "request-timeout",
    StatusCode::REQUEST_TIMEOUT,
    "The request did not come in time",
);
/// The request expects something that the server does not know (RFC 9110, section 10.1.1).
pub const EXPECTATION_UNKNOWN: ProblemKind = ProblemKind::new(
    "expectation-unknown",
    StatusCode::EXPECTATION_FAILED,
    "The expectation cannot be met",
);
/// The host is not one that is served on this connection.
pub const HOST_MISDIRECTED: ProblemKind = ProblemKind::new(
    "host-misdirected",
    StatusCode::MISDIRECTED_REQUEST,
    "This connection does not serve the host that is asked for",
);
/// The version of HTTP is not one that the server speaks.
pub const VERSION_UNSUPPORTED: ProblemKind = ProblemKind::new(
    "version-unsupported",
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    "The version of HTTP is not supported",
);
/// The route is not for clients at this address.
pub const ADDRESS_NOT_ALLOWED: ProblemKind = ProblemKind::new(
    "address-not-allowed",
    StatusCode::FORBIDDEN,
    "This address may not be used from where you are",
);
/// The server has as much to do as it can take.
pub const SERVER_BUSY: ProblemKind =
    ProblemKind::new("server-busy", StatusCode::SERVICE_UNAVAILABLE, "The server is too busy");
/// The request body is larger than the route takes.
pub const BODY_TOO_LARGE: ProblemKind = ProblemKind::new(
    "body-too-large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "The request body is too large",
);
/// The content has a media type that is not read here.
pub const MEDIA_TYPE_UNSUPPORTED: ProblemKind = ProblemKind::new(
    "media-type-unsupported",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "The media type of the content is not supported",
);
/// The request body comes too slowly.
pub const BODY_TOO_SLOW: ProblemKind = ProblemKind::new(
    "body-too-slow",
    StatusCode::REQUEST_TIMEOUT,
    "The request body did not come in time",
);
/// The request body is broken, or the client went away before its end.
pub const BODY_MALFORMED: ProblemKind = ProblemKind::new(
    "body-malformed",
    StatusCode::BAD_REQUEST,
    "The request body is not well formed",
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

/// A command of an operator failed.
pub const COMMAND_FAILED: ProblemKind =
    ProblemKind::new("command-failed", StatusCode::CONFLICT, "The command failed");

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[
    TARGET_INVALID,
    FORWARDING_AMBIGUOUS,
    ROUTE_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_INVALID,
    METHOD_UNKNOWN,
    METHOD_REFUSED,
    TARGET_TOO_LONG,
    HEADERS_TOO_LARGE,
    REQUEST_TIMEOUT,
    EXPECTATION_UNKNOWN,
    HOST_MISDIRECTED,
    VERSION_UNSUPPORTED,
    ADDRESS_NOT_ALLOWED,
    SERVER_BUSY,
    BODY_TOO_LARGE,
    MEDIA_TYPE_UNSUPPORTED,
    BODY_TOO_SLOW,
    BODY_MALFORMED,
    AUTHENTICATION_REQUIRED,
    AUTHENTICATION_MISSING,
    AUTHORIZATION_MISSING,
    TARGET_CHANGED,
    CONFIGURATION_INVALID,
    CONTEXT_CONFLICT,
    INTERNAL_ERROR,
    COMMAND_FAILED,
];
