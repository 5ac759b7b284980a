//! What the tests share: keys, an inner service that reads the context, and a way to look at the context afterwards.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_authn::{ApiKey, ApiKeys, AuthenticateLayer};
use portcullis_core::{Body, Context, Identity, Secret};
use portcullis_testkit::TestRequest;
use tower::{Service, ServiceExt};

/// The key of `ci`.
pub(crate) const KEY: &str = "k-7f3a9c-of-the-build";

pub(crate) fn secret(key: impl Into<String>) -> Secret<String> {
    Secret::new(key.into())
}

/// Knows the key of `ci`.
pub(crate) fn keys() -> ApiKeys {
    ApiKeys::new().key(ApiKey::new("ci", secret(KEY)).role("clerk"))
}

pub(crate) fn layer() -> AuthenticateLayer {
    AuthenticateLayer::new().api_keys(keys())
}

/// Answers with the key of the caller's identity, `anonymous`, or `nobody looked`; counts how often it was called.
#[derive(Clone, Debug, Default)]
pub(crate) struct WhoAmI {
    calls: Arc<AtomicUsize>,
}

impl WhoAmI {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Body>> for WhoAmI {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let context = Context::of(&mut request);
        let who = match context.auth() {
            None => "nobody looked".to_owned(),
            Some(auth) => {
                auth.identity().map_or("anonymous".to_owned(), |who| Identity::key(who).to_string())
            }
        };
        std::future::ready(Ok(Response::new(Body::from(who))))
    }
}

/// Sends a request, and hands back what the layers left in its context, with their notes.
pub(crate) async fn context_after<S>(service: S, request: TestRequest) -> Context
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = request.build();
    let context = Context::of(&mut request);
    context.start_explaining();
    service.oneshot(request).await.unwrap();
    context
}
