//! A limit on the time of a call.
use std::pin::Pin;
use std::task::{Context as Cx, Poll};
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

use crate::kinds::UPSTREAM_TIMEOUT;

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
/// What is over before it began is not begun. The earlier end of both is the `Deadline` that layers further in find, and where
/// the request is one of gRPC, `grpc-timeout` says it to the server. Too late is a problem of kind
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
        let (dialect, now) = (Dialect::of(&request), self.layer.clock.now());
        let is_grpc = dialect.format() == Format::Grpc;
        let outer = request.extensions().get::<Deadline>().and_then(|outer| outer.remaining(now));
        let wish = if is_grpc { GrpcTimeout::read(request.headers()) } else { None };
        let ends = [outer, wish.map(|wish| wish.0)];
        let left = ends.into_iter().flatten().fold(self.layer.limit, Duration::min);
        let call = (!left.is_zero()).then(|| {
            request.extensions_mut().insert(Deadline::starting(now).at_most(left));
            if is_grpc {
                GrpcTimeout(left).write(request.headers_mut());
            }
            self.inner.call(request)
        });
        TimeoutFuture { call, sleep: sleep(left), left, dialect }
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
        left: Duration,
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
        let problem = Problem::new(UPSTREAM_TIMEOUT).source(Source::Upstream);
        let problem = match this.call.as_mut().as_pin_mut() {
            None => problem.cause("the time for the call was over before it began").retry_is_safe(),
            Some(call) => {
                if let Poll::Ready(result) = call.poll(cx) {
                    return Poll::Ready(result.map(|response| response.map(Body::new)));
                }
                if this.sleep.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.call.set(None);
                problem.cause(format!("no answer came within {:?}", this.left))
            }
        };
        Poll::Ready(Ok(problem.respond_in(*this.dialect)))
    }
}
