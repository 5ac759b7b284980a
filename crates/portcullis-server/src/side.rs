//! Listeners beside the application's: for operators.
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds;
use portcullis_core::{Body, BoxError, Problem};
use tower_service::Service;

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Any service, without its type: what stands on a side listener is not called often enough for a box to matter.
#[derive(Clone)]
pub(crate) struct SideService(Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>);

impl SideService {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                let answered = async {
                    poll_fn(|cx| service.poll_ready(cx)).await?;
                    service.call(request).await
                };
                match answered.await {
                    Ok(response) => response.map(Body::new),
                    Err(error) => Problem::new(kinds::INTERNAL_ERROR).cause(error).into_response(),
                }
            })
        }))
    }
}

impl Service<Request<Body>> for SideService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = SideFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> SideFuture {
        SideFuture((self.0)(request))
    }
}

/// The answer of a [`SideService`].
pub(crate) struct SideFuture(Answer);

impl Future for SideFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for SideService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SideService")
    }
}
