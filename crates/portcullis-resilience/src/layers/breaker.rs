//! A circuit breaker around a client.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Refusable};
use tower_layer::Layer;
use tower_service::Service;

use super::dialect_of;
use crate::kinds::unavailable;
use crate::outcome::of_result;
use crate::{Breaker, BreakerPermit, HttpOutcomes, Outcome, Outcomes};

/// Applies [`WithBreaker`].
///
/// ```
/// use portcullis_resilience::{Breaker, BreakerLayer};
/// let layer = BreakerLayer::new(Breaker::builder().error_rate(0.3).build());
/// ```
#[derive(Clone, Debug)]
pub struct BreakerLayer<O = HttpOutcomes> {
    breaker: Breaker,
    outcomes: O,
}

impl BreakerLayer {
    /// Asks this breaker first, and tells it what came of each call.
    pub fn new(breaker: Breaker) -> Self {
        Self { breaker, outcomes: HttpOutcomes }
    }
}

impl<O> BreakerLayer<O> {
    /// Who says what came of a call. Default: [`HttpOutcomes`].
    pub fn outcomes<P>(self, outcomes: P) -> BreakerLayer<P> {
        BreakerLayer { breaker: self.breaker, outcomes }
    }
}

impl<S, O: Clone> Layer<S> for BreakerLayer<O> {
    type Service = WithBreaker<S, O>;
    fn layer(&self, inner: S) -> Self::Service {
        WithBreaker { inner, layer: self.clone() }
    }
}

/// Calls the inner service unless its breaker is open. Then the answer is a problem of kind
/// [`UPSTREAM_UNAVAILABLE`](crate::kinds::UPSTREAM_UNAVAILABLE) with `Retry-After`, and nobody was asked.
///
/// # Cancellation
/// A call that is dropped says nothing about the server; a half-open breaker lets another one through in its place.
#[derive(Clone, Debug)]
pub struct WithBreaker<S, O = HttpOutcomes> {
    inner: S,
    layer: BreakerLayer<O>,
}

impl<S, O, ReqBody, B> Service<Request<ReqBody>> for WithBreaker<S, O>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    O: Outcomes<S::Error>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BreakerFuture<S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let outcomes = self.layer.outcomes.clone();
        let (call, permit) = match self.layer.breaker.try_acquire() {
            Ok(permit) => (Refusable::calling(self.inner.call(request)), Some(permit)),
            Err(open) => {
                let problem = unavailable(open, open.retry_after());
                (Refusable::answered(problem.respond_in(dialect_of(&request))), None)
            }
        };
        BreakerFuture { call, permit, outcomes }
    }
}

pin_project! {
    /// The response future of [`WithBreaker`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct BreakerFuture<F, O> {
        #[pin]
        call: Refusable<F>,
        permit: Option<BreakerPermit>,
        outcomes: O,
    }
}

impl<F, O, B, E> Future for BreakerFuture<F, O>
where
    F: Future<Output = Result<Response<B>, E>>,
    O: Outcomes<E>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.poll(cx));
        if let Some(permit) = this.permit.take() {
            match (of_result(this.outcomes, &result), &result) {
                (Outcome::Answered, _) => permit.succeeded(),
                // A layer further in has asked nobody, or the caller has gone: that says nothing about the server.
                (Outcome::GivenUp, _) | (Outcome::Unsent, Ok(_)) => drop(permit),
                (Outcome::Failed | Outcome::Unsent, _) => permit.failed(),
            }
        }
        Poll::Ready(result)
    }
}
