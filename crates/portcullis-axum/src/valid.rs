//! Extractors whose rejections are problems.
use std::error::Error;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;
use http::StatusCode;
use http::request::Parts;
use portcullis_core::BodyError;

use crate::Problem;
use crate::kinds::{CONTENT_INVALID, CONTENT_TOO_LARGE, MEDIA_TYPE_UNSUPPORTED, REQUEST_INVALID};

/// Another extractor whose rejection is a [`Problem`] in place of axum's plain text.
///
/// The `detail` is what the extractor says. That may name types and fields of the application, as axum's own answer does.
/// Where the server could not read the body to its end, the problem is that of the
/// [`BodyError`]: too large, too slow, or malformed.
///
/// ```
/// use axum::{Json, extract::Path};
/// use portcullis_axum::Valid;
///
/// async fn book(Valid(Path(id)): Valid<Path<u32>>) -> Json<u32> {
///     Json(id)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Valid<E>(pub E);

impl<S, E> FromRequest<S> for Valid<E>
where
    S: Send + Sync,
    E: FromRequest<S, Rejection: IntoResponse + Error + 'static>,
{
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        E::from_request(request, state).await.map(Self).map_err(problem)
    }
}

impl<S, E> FromRequestParts<S> for Valid<E>
where
    S: Send + Sync,
    E: FromRequestParts<S, Rejection: IntoResponse + Error + 'static>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        E::from_request_parts(parts, state).await.map(Self).map_err(problem)
    }
}

fn problem(rejection: impl IntoResponse + Error + 'static) -> Problem {
    if let Some(error) = BodyError::find(&rejection) {
        return error.problem().into();
    }
    let text = rejection.to_string();
    let kind = match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => CONTENT_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => MEDIA_TYPE_UNSUPPORTED,
        StatusCode::UNPROCESSABLE_ENTITY => CONTENT_INVALID,
        status if status.is_server_error() => {
            // The application is not set up for the extractor: nothing for the client.
            return Problem::new(portcullis_core::problem::kinds::INTERNAL_ERROR).cause(text);
        }
        _ => REQUEST_INVALID,
    };
    Problem::new(kind).detail(text)
}
