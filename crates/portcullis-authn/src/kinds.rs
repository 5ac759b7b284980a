//! The kinds of problem that authentication answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// A credential was sent, and it is not valid.
pub const CREDENTIALS_INVALID: ProblemKind = ProblemKind::new(
    "credentials-invalid",
    StatusCode::UNAUTHORIZED,
    "The credentials are not valid",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[CREDENTIALS_INVALID];
