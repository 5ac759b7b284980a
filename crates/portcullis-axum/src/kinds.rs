//! The kinds of problem that the extractors answer with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// A part of the request is not what the handler takes. Core's kind of this name, which a server answers with too.
pub use portcullis_core::problem::kinds::REQUEST_INVALID;

/// The body has a media type that the handler does not take. Core's kind of this name.
pub use portcullis_core::problem::kinds::MEDIA_TYPE_UNSUPPORTED;

/// The body is well formed, and not what the handler takes.
pub const CONTENT_INVALID: ProblemKind = ProblemKind::new(
    "content-invalid",
    StatusCode::UNPROCESSABLE_ENTITY,
    "The content is not valid",
);
/// The body is larger than the handler takes.
pub const CONTENT_TOO_LARGE: ProblemKind = ProblemKind::new(
    "content-too-large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "The content is too large",
);

/// The caller's token does not say what the handler needs to know.
pub const CLAIMS_INSUFFICIENT: ProblemKind = ProblemKind::new(
    "claims-insufficient",
    StatusCode::FORBIDDEN,
    "Your token does not say enough about you",
);

/// Every kind of this crate's own.
pub const ALL: &[ProblemKind] = &[CONTENT_INVALID, CONTENT_TOO_LARGE, CLAIMS_INSUFFICIENT];
