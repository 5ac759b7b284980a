//! A bulkhead around a client.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Refusable, Watch};
use tower_layer::Layer;
use tower_service::Service;

use super::dialect_of;
use crate::kinds::unavailable;
use crate::{Bulkhead, BulkheadPermit};

/// Applies [`WithBulkhead`].
///
/// ```
/// use portcullis_resilience::{Bulkhead, BulkheadLayer};
/// let layer = BulkheadLayer::new(Bulkhead::new(100));
/// ```
#[derive(Clone, Debug)]
pub struct BulkheadLayer {
    bulkhead: Bulkhead,
}

impl BulkheadLayer {
    /// Lets so much through at a time as this bulkhead says.
    pub fn new(bulkhead: Bulkhead) -> Self {
        Self { bulkhead }
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = WithBulkhead<S>;
    fn layer(&self, inner: S) -> Self::Service {
        WithBulkhead { inner, layer: self.clone() }
    }
}

/// Calls the inner service unless so many calls are under way as may be. A call is, until the body of its answer is over. One too
/// many gets a problem of kind [`UPSTREAM_UNAVAILABLE`](crate::kinds::UPSTREAM_UNAVAILABLE), and nobody was asked.
///
/// # Cancellation
/// Dropping the future, or the body, makes room.
#[derive(Clone, Debug)]
pub struct WithBulkhead<S> {
    inner: S,
    layer: BulkheadLayer,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for WithBulkhead<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BulkheadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match self.layer.bulkhead.try_acquire() {
            Ok(permit) => BulkheadFuture {
                call: Refusable::calling(self.inner.call(request)),
                permit: Some(permit),
            },
            Err(full) => {
                let problem = unavailable(full, Duration::from_secs(1));
                let answer = problem.respond_in(dialect_of(&request));
                BulkheadFuture { call: Refusable::answered(answer), permit: None }
            }
        }
    }
}

pin_project! {
    /// The response future of [`WithBulkhead`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct BulkheadFuture<F> {
        #[pin]
        call: Refusable<F>,
        permit: Option<BulkheadPermit>,
    }
}

impl<F, B, E> Future for BulkheadFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.poll(cx));
        let permit = this.permit.take();
        Poll::Ready(result.map(|response| {
            response.map(|body| match permit {
                Some(permit) if !body.is_end_stream() => body.watched(Held { _permit: permit }),
                _ => body,
            })
        }))
    }
}

/// Keeps a permit as long as a body goes on.
struct Held {
    _permit: BulkheadPermit,
}

impl Watch for Held {}
