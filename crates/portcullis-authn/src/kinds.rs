//! The kinds of problem that authentication answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// A credential was sent, and it is not valid.
pub const CREDENTIALS_INVALID: ProblemKind = ProblemKind::new(
    "credentials-invalid",
    StatusCode::UNAUTHORIZED,
    "The credentials are not valid",
);

/// Whoever could say whether the credentials are valid cannot be asked now.
pub const AUTHENTICATION_UNAVAILABLE: ProblemKind = ProblemKind::new(
    "authentication-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Nobody can say now who you are",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[CREDENTIALS_INVALID, AUTHENTICATION_UNAVAILABLE];
