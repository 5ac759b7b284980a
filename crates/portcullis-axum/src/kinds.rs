//! The kinds of problem that [`Valid`](crate::Valid) answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// A part of the request is not what the handler takes. Core's kind of this name, which a server answers with too.
pub use portcullis_core::problem::kinds::REQUEST_INVALID;

/// The body is well formed, and not what the handler takes.
pub const CONTENT_INVALID: ProblemKind = ProblemKind::new(
    "content-invalid",
    StatusCode::UNPROCESSABLE_ENTITY,
    "The content is not valid",
);
/// The body has a media type that the handler does not take.
pub const MEDIA_TYPE_UNSUPPORTED: ProblemKind = ProblemKind::new(
    "media-type-unsupported",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "The media type of the content is not supported",
);
/// The body is larger than the handler takes.
pub const CONTENT_TOO_LARGE: ProblemKind = ProblemKind::new(
    "content-too-large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "The content is too large",
);

/// Every kind of this crate's own.
pub const ALL: &[ProblemKind] = &[CONTENT_INVALID, MEDIA_TYPE_UNSUPPORTED, CONTENT_TOO_LARGE];
