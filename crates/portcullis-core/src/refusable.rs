//! The future of a layer that either answers by itself or calls the inner service.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;

use crate::{Body, BoxError};

pin_project! {
    /// The future of a layer that decides at once: it either answers by itself or calls the inner service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Refusable<F> { #[pin] state: State<F> }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] call: F },
        Answered { answer: Option<Response<Body>> },
    }
}

impl<F> Refusable<F> {
    /// The inner service was called.
    pub fn calling(call: F) -> Self {
        Self { state: State::Calling { call } }
    }
    /// The layer answers by itself; the inner service was not called.
    pub fn answered(answer: Response<Body>) -> Self {
        Self { state: State::Answered { answer: Some(answer) } }
    }
}

impl<F, B, E> Future for Refusable<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Calling { call } => Ok(ready!(call.poll(cx))?.map(Body::new)),
            StateProj::Answered { answer } => {
                Ok(answer.take().expect("a future is not polled after it completed"))
            }
        })
    }
}
