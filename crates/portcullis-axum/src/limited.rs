//! A limit that a handler counts against.
use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use portcullis_ratelimit::{Asked, Pass, Throttle};

use crate::{Problem, RequestContext};

/// Counts the request against a [`Throttle`] of the router's state, when it is this argument's turn: after what stands before it has been looked at, so that what those
/// reject does not count.
///
/// A limit of a route, by `limit` of its rule, is counted before its handler, costs less, and stands in the list of routes; take this where it depends on the handler. Rejects
/// with 429 `quota-exceeded`, and with 500 when none of our layers has seen the request.
///
/// With several throttles each has a type of its own that holds it, as with all of axum's state:
///
/// ```
/// use axum::extract::FromRef;
/// use axum::response::{IntoResponse, Response};
/// use portcullis_axum::Limited;
/// use portcullis_ratelimit::{Key, Throttle, per_hour};
///
/// #[derive(Clone)]
/// struct Exports(Throttle);
/// impl AsRef<Throttle> for Exports {
///     fn as_ref(&self) -> &Throttle {
///         &self.0
///     }
/// }
///
/// #[derive(Clone)]
/// struct Shop {
///     exports: Exports,
/// }
/// impl FromRef<Shop> for Exports {
///     fn from_ref(shop: &Shop) -> Self {
///         shop.exports.clone()
///     }
/// }
///
/// async fn export(Limited(pass, ..): Limited<Exports>) -> impl IntoResponse {
///     // The answer says what is left.
///     pass.answer("all books".into_response())
/// }
///
/// let exports = Exports(Throttle::new("exports", per_hour(10).by(Key::Identity))?);
/// let api = portcullis_axum::Guarded::new()
///     .route("/export", portcullis_axum::get(export), portcullis_core::authenticated())
///     .with_state::<()>(Shop { exports });
/// # Ok::<(), portcullis_core::ConfigError>(())
/// ```
pub struct Limited<T = Throttle>(pub Pass, pub PhantomData<fn() -> T>);

impl<S, T> FromRequestParts<S> for Limited<T>
where
    S: Sync,
    T: FromRef<S> + AsRef<Throttle> + Send + Sync,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let RequestContext(context) = RequestContext::from_request_parts(parts, state).await?;
        let throttle = T::from_ref(state);
        let pass = throttle.as_ref().pass(&Asked::of(parts, &context)).await?;
        Ok(Self(pass, PhantomData))
    }
}

impl<T> fmt::Debug for Limited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limited").field(&self.0).finish()
    }
}
