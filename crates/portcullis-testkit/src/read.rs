//! Reading a body to its end.
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use portcullis_core::BoxError;

use crate::fail::fail;

/// Reads a body to its end: its data in one piece, and its trailers.
///
/// # Errors
/// The error of the body.
pub async fn collect<B>(body: B) -> Result<(Bytes, Option<HeaderMap>), BoxError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let collected = body.collect().await.map_err(Into::into)?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes(), trailers))
}

/// Reads the body of a response as text.
///
/// # Panics
/// When the body fails or is not UTF-8.
pub async fn read<B>(response: Response<B>) -> String
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match collect(response.into_body()).await {
        Err(error) => fail(format!("the body failed: {error}")),
        Ok((data, _)) => String::from_utf8(data.into())
            .unwrap_or_else(|error| fail(format!("the body is not text: {error}"))),
    }
}
