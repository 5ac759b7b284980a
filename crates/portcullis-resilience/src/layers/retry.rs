//! Retries around a client.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::problem::Source;
use portcullis_core::{Body, BoxError, Clock, Deadline, Problem};
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::kinds::{UPSTREAM_TIMEOUT, retry_after};
use crate::outcome::of_result;
use crate::{Backoff, HttpOutcomes, Outcome, Outcomes, RetryBudget, Spare};

/// Applies [`WithRetries`].
///
/// ```
/// use portcullis_resilience::{RetryBudget, RetryLayer};
/// let layer = RetryLayer::new(2).budget(RetryBudget::new(0.1, 5));
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer<O = HttpOutcomes> {
    retries: u32,
    budget: RetryBudget,
    backoff: Backoff,
    replayed: usize,
    outcomes: O,
    clock: Clock,
}

impl RetryLayer {
    /// Sends again what failed, so often at most.
    pub fn new(retries: u32) -> Self {
        Self {
            retries,
            budget: RetryBudget::default(),
            backoff: Backoff::default(),
            replayed: 64 << 10,
            outcomes: HttpOutcomes,
            clock: Clock::system(),
        }
    }
}

impl<O> RetryLayer<O> {
    /// How much more may be sent than the requests themselves. Default: a fifth of them, and 10 a second. The services of one layer share it.
    #[must_use]
    pub fn budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }
    /// How long to wait before each. Default: that of [`Backoff`].
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }
    /// How many bytes of a request's body are remembered; larger ones are not sent again. Default: 64 KiB.
    #[must_use]
    pub fn replayed(self, bytes: usize) -> Self {
        Self { replayed: bytes, ..self }
    }
    /// Who says what came of a call, and what may be sent again. Default: [`HttpOutcomes`].
    pub fn outcomes<P>(self, outcomes: P) -> RetryLayer<P> {
        let Self { retries, budget, backoff, replayed, outcomes: _, clock } = self;
        RetryLayer { retries, budget, backoff, replayed, outcomes, clock }
    }
    /// Where time comes from. Default: the machine's clock. (Waits are tokio's.)
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl<S, O: Clone> Layer<S> for RetryLayer<O> {
    type Service = WithRetries<S, O>;
    fn layer(&self, inner: S) -> Self::Service {
        WithRetries { inner, layer: self.clone() }
    }
}

/// Sends again what failed, where that does no harm: nobody has seen it, or it may be repeated, as [`Outcomes`] says. No more is sent
/// than the budget allows, and nothing that could not be answered before the request's [`Deadline`]. `Retry-After` is
/// kept to, and where it asks for more than the longest wait of the [`Backoff`], the answer is handed on at once: that of a breaker further in, for one.
///
/// # Panics
/// A retry panics outside of a tokio runtime with timers.
///
/// # Cancellation
/// Dropping the future ends the try that is under way, and there is no other.
#[derive(Clone, Debug)]
pub struct WithRetries<S, O = HttpOutcomes> {
    inner: S,
    layer: RetryLayer<O>,
}

impl<S, O, ReqBody, B> Service<Request<ReqBody>> for WithRetries<S, O>
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
    type Future = RetryFuture<S, S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let mut request = request.map(Body::new);
        self.layer.budget.request();
        let more = if self.layer.retries == 0 {
            None
        } else {
            let may_repeat = self.layer.outcomes.may_repeat(&request);
            let deadline = request.extensions().get().copied();
            let spare = Spare::of(&mut request, self.layer.replayed);
            // In a box, since it is large and moved often, and seldom wanted.
            spare.map(|spare| {
                Box::new(More {
                    // Not ready, so it is asked before it is called.
                    service: self.inner.clone(),
                    layer: self.layer.clone(),
                    retried: 0,
                    spare,
                    may_repeat,
                    deadline,
                })
            })
        };
        let state = State::Calling { call: self.inner.call(request) };
        RetryFuture { state, more }
    }
}

/// What another try needs.
#[derive(Debug)]
struct More<S, O> {
    service: S,
    layer: RetryLayer<O>,
    retried: u32,
    spare: Spare,
    may_repeat: bool,
    deadline: Option<Deadline>,
}

impl<S, O> More<S, O> {
    /// Whether getting ready has taken what was left of the time.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.is_expired(self.layer.clock.now()))
    }
    fn late(&self) -> Response<Body> {
        let problem = Problem::new(UPSTREAM_TIMEOUT).source(Source::Downstream);
        let problem = problem.cause("the client was not ready for another try in time");
        problem.respond_in(self.spare.dialect())
    }
    /// How long to wait until the next try; `None` where there is none.
    fn next<E, B>(&self, result: &Result<Response<B>, E>) -> Option<Duration>
    where
        O: Outcomes<E>,
    {
        let may = match of_result(&self.layer.outcomes, result) {
            Outcome::Answered | Outcome::GivenUp => false,
            Outcome::Failed => self.may_repeat,
            Outcome::Unsent => true,
        };
        if !may || self.retried == self.layer.retries || !self.spare.is_whole() {
            return None;
        }
        let asked = result.as_ref().ok().and_then(|response| retry_after(response.headers()));
        let delay = self.layer.backoff.delay_of(self.retried, asked)?;
        let left = self.deadline.and_then(|deadline| deadline.remaining(self.layer.clock.now()));
        let in_time = left.is_none_or(|left| delay < left);
        (in_time && self.layer.budget.try_retry()).then_some(delay)
    }
}

pin_project! {
    /// The response future of [`WithRetries`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RetryFuture<S, F, O> {
        #[pin]
        state: State<F>,
        more: Option<Box<More<S, O>>>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] call: F },
        Waiting { #[pin] sleep: Sleep },
        Readying { request: Option<Request<Body>> },
    }
}

impl<S, O, B> Future for RetryFuture<S, S::Future, O>
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
            let next = match this.state.as_mut().project() {
                StateProj::Calling { call } => {
                    let result = ready!(call.poll(cx));
                    match this.more.as_ref().and_then(|more| more.next(&result)) {
                        Some(delay) => State::Waiting { sleep: sleep(delay) },
                        None => {
                            return Poll::Ready(result.map(|response| response.map(Body::new)));
                        }
                    }
                }
                StateProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    let more = this.more.as_mut().expect("who waits has another try");
                    more.retried += 1;
                    State::Readying { request: more.spare.again() }
                }
                StateProj::Readying { request } => {
                    let more = this.more.as_mut().expect("who gets ready has another try");
                    ready!(more.service.poll_ready(cx))?;
                    if more.is_late() {
                        return Poll::Ready(Ok(more.late()));
                    }
                    let request = request.take().expect("it was whole, and nobody reads it now");
                    State::Calling { call: more.service.call(request) }
                }
            };
            this.state.set(next);
        }
    }
}
