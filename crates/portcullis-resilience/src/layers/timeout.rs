//! A limit on the time of a call.
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::problem::Source;
use portcullis_core::{Body, BoxError, Clock, Deadline, Dialect, Format, GrpcTimeout, Problem};
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::dialect_of;
use crate::kinds::UPSTREAM_TIMEOUT;

/// How much later than we do others give up, whom a header tells it: tonic's channel keeps to it by itself, and would answer otherwise.
const LATER: Duration = Duration::from_millis(2);

/// Applies [`WithTimeout`].
///
/// Around [`RetryLayer`](crate::RetryLayer) it limits all tries together, inside of it each of them.
///
/// ```
/// use std::time::Duration;
/// use portcullis_resilience::TimeoutLayer;
/// let layer = TimeoutLayer::new(Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct TimeoutLayer {
    limit: Duration,
    clock: Clock,
}

impl TimeoutLayer {
    /// The head of an answer comes within this time.
    pub fn new(limit: Duration) -> Self {
        Self { limit, clock: Clock::system() }
    }
    /// Where time comes from. Default: the machine's clock. (Waits are tokio's.)
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = WithTimeout<S>;
    fn layer(&self, inner: S) -> Self::Service {
        WithTimeout { inner, layer: self.clone() }
    }
}

/// Waits for the head of an answer no longer than it is told, and no longer than the [`Deadline`] in the extensions of the request.
/// So a handler hands on what is left of its own time:
///
/// ```
/// # use portcullis_core::Context;
/// # let mut incoming = http::Request::new(());
/// # let mut outgoing = http::Request::new(());
/// let context = Context::of(&mut incoming);
/// outgoing.extensions_mut().insert(context.deadline());
/// ```
///
/// What is over before it began is not begun. The earlier end of both takes the place of the `Deadline`, where there is one, and a
/// request of gRPC says it to the server by `grpc-timeout`. Too late is a problem of kind
/// [`UPSTREAM_TIMEOUT`](crate::kinds::UPSTREAM_TIMEOUT). The body of an answer may take any time.
///
/// # Panics
/// A call panics outside of a tokio runtime with timers.
///
/// # Cancellation
/// Dropping the future drops the call. So does its end.
#[derive(Clone, Debug)]
pub struct WithTimeout<S> {
    inner: S,
    layer: TimeoutLayer,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for WithTimeout<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let dialect = dialect_of(&request);
        let mut left = self.layer.limit;
        let now = request.extensions().get::<Deadline>().map(|outer| {
            let now = self.layer.clock.now();
            left = outer.remaining(now).map_or(left, |outer| outer.min(left));
            now
        });
        if dialect.format() == Format::Grpc {
            let wish = GrpcTimeout::read(request.headers());
            left = wish.map_or(left, |wish| wish.0.min(left));
            GrpcTimeout(left.saturating_add(LATER)).write(request.headers_mut());
        }
        if let (Some(now), Some(deadline)) = (now, request.extensions_mut().get_mut::<Deadline>()) {
            *deadline = Deadline::starting(now).at_most(left);
        }
        let call = (!left.is_zero()).then(|| self.inner.call(request));
        let limit = Limit { left, whole: self.layer.limit };
        TimeoutFuture { call, sleep: sleep(left), limit, dialect }
    }
}

/// What a call had, and what the layer gives: less where the caller has less.
#[derive(Clone, Copy, Debug)]
struct Limit {
    left: Duration,
    whole: Duration,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, whole } = self;
        if left < whole {
            return write!(f, "the {left:.1?} that the caller has left, of a limit of {whole:?}");
        }
        write!(f, "the limit of {whole:?}")
    }
}

pin_project! {
    /// The response future of [`WithTimeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TimeoutFuture<F> {
        #[pin]
        call: Option<F>,
        #[pin]
        sleep: Sleep,
        limit: Limit,
        dialect: Dialect,
    }
}

impl<F, B, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(call) = this.call.as_mut().as_pin_mut() {
            match call.poll(cx) {
                // Whoever enforces the limit on the way may be as quick as we are.
                Poll::Ready(Err(_)) if this.sleep.as_mut().poll(cx).is_ready() => {}
                Poll::Ready(result) => {
                    return Poll::Ready(result.map(|response| response.map(Body::new)));
                }
                Poll::Pending => ready!(this.sleep.as_mut().poll(cx)),
            }
        }
        // Where the caller has less time than the layer gives, its end says nothing about who was asked.
        let is_ours = this.limit.left == this.limit.whole;
        let source = if is_ours { Source::Upstream } else { Source::Downstream };
        let problem = Problem::new(UPSTREAM_TIMEOUT).source(source);
        let problem = if this.call.is_some() {
            this.call.set(None);
            problem.cause(format!("no answer came within {}", this.limit))
        } else {
            problem.cause("the time for the call was over before it began").retry_is_safe()
        };
        Poll::Ready(Ok(problem.respond_in(*this.dialect)))
    }
}
