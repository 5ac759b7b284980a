//! The kinds of problem that authorization answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// The caller is known, and may not.
pub const PERMISSION_DENIED: ProblemKind =
    ProblemKind::new("permission-denied", StatusCode::FORBIDDEN, "You may not use this address");
/// The caller's token, or key, is not for what is asked for.
pub const SCOPE_INSUFFICIENT: ProblemKind = ProblemKind::new(
    "scope-insufficient",
    StatusCode::FORBIDDEN,
    "Your credentials are not for this address",
);
/// The caller may, after a stronger proof of identity.
pub const STEP_UP_REQUIRED: ProblemKind = ProblemKind::new(
    "step-up-required",
    StatusCode::UNAUTHORIZED,
    "You must prove your identity again, more strongly, to use this address",
);
/// Nobody can say now whether the caller may.
pub const AUTHORIZATION_UNAVAILABLE: ProblemKind = ProblemKind::new(
    "authorization-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Nobody can say now whether you may",
);
/// The endpoint should have looked at who may do something with its object, and has not.
pub const OBJECT_UNCHECKED: ProblemKind = ProblemKind::new(
    "object-unchecked",
    StatusCode::INTERNAL_SERVER_ERROR,
    "Nobody has looked at whether you may",
);
/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[
    PERMISSION_DENIED,
    SCOPE_INSUFFICIENT,
    STEP_UP_REQUIRED,
    AUTHORIZATION_UNAVAILABLE,
    OBJECT_UNCHECKED,
];
