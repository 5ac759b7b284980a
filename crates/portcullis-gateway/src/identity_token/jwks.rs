//! The keys that our tokens are verified by.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use portcullis_core::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::SigningKey;

/// An endpoint that answers with the keys of [`IdentityTokens`](super::IdentityTokens) as a JWK Set (RFC 7517), which may be kept for 5 min. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub struct JwksEndpoint(Bytes);

impl JwksEndpoint {
    pub(super) fn new(keys: &[SigningKey]) -> Self {
        let keys: Vec<&Value> = keys.iter().map(SigningKey::jwk).collect();
        Self(json!({ "keys": keys }).to_string().into())
    }
}

impl<B> Service<Request<B>> for JwksEndpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Body::from(self.0.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        ready(Ok(response))
    }
}
