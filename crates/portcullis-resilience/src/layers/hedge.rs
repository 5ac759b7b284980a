//! A second call where the first takes long.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError};
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::outcome::of_result;
use crate::{HttpOutcomes, Outcome, Outcomes, RetryBudget, Spare};

/// Applies [`WithHedge`].
///
/// ```
/// use std::time::Duration;
/// use portcullis_resilience::HedgeLayer;
/// let layer = HedgeLayer::new(Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
pub struct HedgeLayer<O = HttpOutcomes> {
    after: Duration,
    budget: RetryBudget,
    outcomes: O,
}

impl HedgeLayer {
    /// Asks once more where there is no answer after this time. The time within which 95 of 100 answers come is a good one.
    pub fn new(after: Duration) -> Self {
        Self { after, budget: RetryBudget::default(), outcomes: HttpOutcomes }
    }
}

impl<O> HedgeLayer<O> {
    /// How much more may be sent than the requests themselves. Default: a fifth of them, and 10 a second. It is one of its own: each
    /// request counts in it.
    #[must_use]
    pub fn budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }
    /// Who says what came of a call. Default: [`HttpOutcomes`].
    pub fn outcomes<P>(self, outcomes: P) -> HedgeLayer<P> {
        HedgeLayer { after: self.after, budget: self.budget, outcomes }
    }
}

impl<S, O: Clone> Layer<S> for HedgeLayer<O> {
    type Service = WithHedge<S, O>;
    fn layer(&self, inner: S) -> Self::Service {
        WithHedge { inner, layer: self.clone() }
    }
}

/// Asks once more where the first call takes long, and answers with what comes first and is no failure; the other call is dropped.
/// Only what changes nothing is asked twice at once: a safe method (RFC 9110, section 9.2.1) without a body.
///
/// (The technique is that of Dean and Barroso, "The Tail at Scale".)
///
/// # Panics
/// A call panics outside of a tokio runtime with timers.
///
/// # Cancellation
/// Dropping the future drops both calls.
#[derive(Clone, Debug)]
pub struct WithHedge<S, O = HttpOutcomes> {
    inner: S,
    layer: HedgeLayer<O>,
}

impl<S, O, ReqBody, B> Service<Request<ReqBody>> for WithHedge<S, O>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    O: Outcomes<S::Error>,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = HedgeFuture<S, S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let mut request = request.map(Body::new);
        self.layer.budget.request();
        let is_light = request.method().is_safe() && request.body().is_end_stream();
        let other = if is_light { Spare::of(&mut request, 0) } else { None };
        // In a box, since it is large and moved often, and seldom wanted.
        let other = other.map(|spare| {
            Box::new(Other {
                // Not ready, so it is asked before it is called.
                service: self.inner.clone(),
                spare,
                budget: self.layer.budget.clone(),
            })
        });
        HedgeFuture {
            first: Some(self.inner.call(request)),
            second: None,
            wait: other.is_some().then(|| sleep(self.layer.after)),
            other,
            outcomes: self.layer.outcomes.clone(),
        }
    }
}

/// What the second call needs.
#[derive(Debug)]
struct Other<S> {
    service: S,
    spare: Spare,
    budget: RetryBudget,
}

pin_project! {
    /// The response future of [`WithHedge`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct HedgeFuture<S, F, O> {
        #[pin]
        first: Option<F>,
        // In a box, so that those without one are half as large.
        second: Option<Pin<Box<F>>>,
        // Until the second call may begin.
        #[pin]
        wait: Option<Sleep>,
        // Gone when the second call has begun, or will not.
        other: Option<Box<Other<S>>>,
        outcomes: O,
    }
}

impl<S, O, B> Future for HedgeFuture<S, S::Future, O>
where
    S: Service<Request<Body>, Response = Response<B>>,
    O: Outcomes<S::Error>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match poll_call(this.first.as_mut(), cx) {
                Poll::Ready(result) => Some((result, this.second.is_none())),
                Poll::Pending => match poll_call(Pin::new(&mut *this.second), cx) {
                    Poll::Ready(result) => Some((result, this.first.is_none())),
                    Poll::Pending => None,
                },
            };
            if let Some((result, is_last)) = result {
                if is_last || of_result(this.outcomes, &result) == Outcome::Answered {
                    return Poll::Ready(result.map(|response| response.map(Body::new)));
                }
                // The other one may do better.
                continue;
            }
            let other = ready!(poll_other(this.wait.as_mut(), this.other, cx));
            let Some(call) = other else { return Poll::Pending };
            *this.second = Some(Box::pin(call));
        }
    }
}

/// Polls a call, which is gone when it is over.
fn poll_call<F: Future>(mut call: Pin<&mut Option<F>>, cx: &mut Cx<'_>) -> Poll<F::Output> {
    let Some(under_way) = call.as_mut().as_pin_mut() else { return Poll::Pending };
    let result = ready!(under_way.poll(cx));
    call.set(None);
    Poll::Ready(result)
}

/// Begins the second call when it is time; `None` where there is none to begin.
fn poll_other<S: Service<Request<Body>>>(
    mut wait: Pin<&mut Option<Sleep>>,
    other: &mut Option<Box<Other<S>>>,
    cx: &mut Cx<'_>,
) -> Poll<Option<S::Future>> {
    let Some(next) = other else { return Poll::Ready(None) };
    if let Some(sleep) = wait.as_mut().as_pin_mut() {
        ready!(sleep.poll(cx));
        wait.set(None);
        if !next.budget.try_retry() {
            *other = None;
            return Poll::Ready(None);
        }
    }
    // One that is not well gets no second call; the first goes on.
    let is_ready = ready!(next.service.poll_ready(cx)).is_ok();
    let request = if is_ready { next.spare.again() } else { None };
    let call = request.map(|request| next.service.call(request));
    *other = None;
    Poll::Ready(call)
}
