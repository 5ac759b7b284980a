//! What an answer says of caching.
use std::convert::Infallible;

use axum::response::{IntoResponseParts, ResponseParts};
use portcullis_cache::{CacheControl, CacheTags};
use portcullis_core::problem::kinds::INTERNAL_ERROR;

use crate::Problem;

/// Who may keep an answer, and for how long: a part of what a handler returns. It takes the place of a `Cache-Control` that is there.
///
/// ```
/// use std::time::Duration;
///
/// use axum::Json;
/// use axum::extract::Path;
/// use axum::response::IntoResponse;
/// use portcullis_axum::{Caching, Tagged};
/// use portcullis_cache::CacheControl;
///
/// const MINUTE: CacheControl = CacheControl::public().max_age(Duration::from_secs(60));
///
/// async fn book(Path(id): Path<u32>) -> impl IntoResponse {
///     (Caching(MINUTE), Tagged(["books".to_owned(), format!("book-{id}")]), Json(id))
/// }
/// # let _: axum::Router = axum::Router::new().route("/books/{id}", axum::routing::get(book));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching(pub CacheControl);

impl IntoResponseParts for Caching {
    type Error = Infallible;
    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.0.apply(parts.headers_mut());
        Ok(parts)
    }
}

/// What an answer is made of: a part of what a handler returns, beside [`Caching`]. A [`Purge::tag`](portcullis_cache::Purge::tag) takes out of the cache whatever has the tag.
///
/// Tags are tokens (see [`CacheTags::new`]). Where one is none the answer is 500 `internal-error`, and the log says which: it would be kept, and no purge would ever reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tagged<I>(pub I);

impl<I: IntoIterator<Item: AsRef<str>>> IntoResponseParts for Tagged<I> {
    type Error = Problem;
    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Problem> {
        let tags =
            CacheTags::new(self.0).map_err(|error| Problem::new(INTERNAL_ERROR).cause(error))?;
        tags.apply(parts.headers_mut());
        Ok(parts)
    }
}
