//! The future, and the body that keeps a permit.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Clock, Context, Watch};
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::reason::Reason;
use super::service::Shared;
use super::state::{Permit, State as Counted, Ticket};

pin_project! {
    /// The response future of [`Overload`](crate::Overload).
    #[must_use = "futures do nothing unless polled"]
    pub struct OverloadFuture<S, R>
    where
        S: Service<Request<R>>,
    {
        #[pin]
        state: State<S, R, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R, F> {
        Calling { #[pin] call: F, permit: Option<Permit>, meter: Option<Meter> },
        // A request that waits may cost a box; the others do not have to carry its place.
        Waits { waiting: Box<Waiting<S, R>> },
        Answered { answer: Option<Response<Body>> },
    }
}

/// A request that waits.
pub(super) struct Waiting<S, R> {
    ticket: Ticket,
    longest: Pin<Box<Sleep>>,
    /// Taken when the wait is over.
    held: Option<(S, Request<R>)>,
    shared: Arc<Shared>,
    context: Context,
}

impl<S, R> Waiting<S, R> {
    pub(super) fn new(
        ticket: Ticket,
        service: S,
        request: Request<R>,
        shared: Arc<Shared>,
        context: Context,
    ) -> Self {
        let longest = Box::pin(sleep(ticket.longest));
        Self { ticket, longest, held: Some((service, request)), shared, context }
    }

    fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Permit, Reason>> {
        match Pin::new(&mut self.ticket.answer).poll(cx) {
            Poll::Ready(Ok(Ok(permit))) => {
                return Poll::Ready(Shared::in_time(permit, &self.context));
            }
            Poll::Ready(Ok(Err(reason))) => return Poll::Ready(Err(reason)),
            // The queue lets go of nobody without a word.
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Reason::QueueFull)),
            Poll::Pending => {}
        }
        ready!(self.longest.as_mut().poll(cx));
        Poll::Ready(Err(Reason::Deadline))
    }
}

impl<S: Service<Request<R>>, R> OverloadFuture<S, R> {
    pub(super) fn calling(call: S::Future, permit: Permit, meter: Option<Meter>) -> Self {
        Self { state: State::Calling { call, permit: Some(permit), meter } }
    }
    pub(super) fn waiting(waiting: Waiting<S, R>) -> Self {
        Self { state: State::Waits { waiting: Box::new(waiting) } }
    }
    pub(super) fn answered(answer: Response<Body>) -> Self {
        Self { state: State::Answered { answer: Some(answer) } }
    }
}

impl<S, R, B> Future for OverloadFuture<S, R>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { call, permit, meter } => {
                    let result = ready!(call.poll(cx));
                    if let (Some(meter), Ok(response)) = (meter.take(), &result) {
                        meter.answered(response.status());
                    }
                    let permit = permit.take();
                    return Poll::Ready(
                        result.map(|response| response.map(|body| hold(body, permit))),
                    );
                }
                StateProj::Answered { answer } => {
                    let answer = answer.take().expect("a future is not polled after it completed");
                    return Poll::Ready(Ok(answer));
                }
                StateProj::Waits { waiting } => {
                    let next = match ready!(waiting.poll(cx)) {
                        Ok(permit) => {
                            let (mut service, request) =
                                waiting.held.take().expect("a wait ends once");
                            let meter = waiting.shared.begin(&waiting.context);
                            let call = service.call(request);
                            State::Calling { call, permit: Some(permit), meter }
                        }
                        Err(reason) => {
                            let answer = waiting.shared.shed(reason, &waiting.context);
                            State::Answered { answer: Some(answer) }
                        }
                    };
                    this.state.set(next);
                }
            }
        }
    }
}

impl<S: Service<Request<R>>, R> fmt::Debug for OverloadFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverloadFuture").finish_non_exhaustive()
    }
}

/// Measures how long a call takes to the head of its answer. One that is dropped says nothing.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    start: Instant,
    state: Arc<Counted>,
}

impl Meter {
    pub(super) fn new(clock: Clock, state: Arc<Counted>) -> Self {
        Self { start: clock.now(), clock, state }
    }
    fn answered(self, status: StatusCode) {
        let busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        let latency = self.clock.now().saturating_duration_since(self.start);
        self.state.learn((!busy.contains(&status)).then_some(latency));
    }
}

fn hold<B>(body: B, permit: Option<Permit>) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let body = Body::new(body);
    match permit {
        Some(permit) if !body.is_end_stream() => body.watched(Held { _permit: permit }),
        _ => body,
    }
}

/// Keeps a permit as long as a body goes on.
struct Held {
    _permit: Permit,
}

impl Watch for Held {}
