//! The future of the layer.
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Context, Problem};
use tower_service::Service;

use crate::admitted::Admitted;
use crate::decide::decide;
use crate::fields::Said;

type Deciding = Pin<Box<dyn Future<Output = Result<Admitted, Problem>> + Send>>;

/// A request that waits, or about which a store is asked.
struct Waiting<S, R> {
    deciding: Deciding,
    inner: S,
    request: Request<R>,
    context: Context,
}

pin_project! {
    /// The response future of [`RateLimit`](crate::RateLimit).
    #[must_use = "futures do nothing unless polled"]
    pub struct RateLimitFuture<S, R>
    where
        S: Service<Request<R>>,
    {
        #[pin]
        call: Option<S::Future>,
        said: Option<Said>,
        // Of a request about which something is to be done when there is an answer.
        admitted: Option<Box<Admitted>>,
        answer: Option<Box<Response<Body>>>,
        waiting: Option<Box<Waiting<S, R>>>,
    }
}

impl<S: Service<Request<R>>, R> RateLimitFuture<S, R> {
    pub(crate) fn refused(answer: Response<Body>) -> Self {
        let answer = Some(Box::new(answer));
        Self { call: None, said: None, admitted: None, answer, waiting: None }
    }
    pub(crate) fn quick(call: S::Future, said: Said) -> Self {
        Self { call: Some(call), said: Some(said), admitted: None, answer: None, waiting: None }
    }
    pub(crate) fn calling(inner: &mut S, request: Request<R>, mut admitted: Admitted) -> Self {
        if admitted.held.is_empty() {
            // Where nothing counted there is nothing to say.
            admitted.over();
            let call = Some(inner.call(request));
            return Self { call, said: None, admitted: None, answer: None, waiting: None };
        }
        admitted.called();
        let said = Some(admitted.say(&[]));
        // As long as the call lasts, and where it panics.
        let admitted = if admitted.lasts() {
            Some(Box::new(admitted))
        } else {
            admitted.over();
            None
        };
        let call = Some(inner.call(request));
        Self { call, said, admitted, answer: None, waiting: None }
    }
    pub(crate) fn deciding(inner: &mut S, request: Request<R>, admitted: Admitted) -> Self
    where
        S: Clone,
    {
        // The clone may not be ready: keep it, and move out the one that is.
        let clone = inner.clone();
        let inner = mem::replace(inner, clone);
        let context = admitted.context.clone();
        let deciding = Box::pin(decide(admitted));
        let waiting = Some(Box::new(Waiting { deciding, inner, request, context }));
        Self { call: None, said: None, admitted: None, answer: None, waiting }
    }
}

impl<S, R, B> Future for RateLimitFuture<S, R>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        if let Some(waiting) = self.as_mut().project().waiting {
            let decided = ready!(waiting.deciding.as_mut().poll(cx));
            if let Some(waiting) = self.as_mut().project().waiting.take() {
                let Waiting { mut inner, request, context, .. } = *waiting;
                let next = match decided {
                    Ok(admitted) => Self::calling(&mut inner, request, admitted),
                    Err(problem) => Self::refused(problem.respond(&context)),
                };
                self.set(next);
            }
        }
        let this = self.project();
        let Some(call) = this.call.as_pin_mut() else {
            let answer = this.answer.take().expect("a future is not polled after it completed");
            return Poll::Ready(Ok(*answer));
        };
        let mut response = ready!(call.poll(cx))?.map(Body::new);
        if let Some(said) = this.said.take() {
            said.add_to(response.headers_mut());
        }
        Poll::Ready(Ok(match this.admitted.take() {
            Some(admitted) => admitted.answer(response),
            None => response,
        }))
    }
}

impl<S: Service<Request<R>>, R> fmt::Debug for RateLimitFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.waiting.is_some();
        f.debug_struct("RateLimitFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
