//! The leaf guard, in axum's own body type: nothing is boxed again.
use std::convert::Infallible;
use std::task::{Context as Cx, Poll};

use axum::body::Body;
use axum::response::Response;
use http::Request;
use pin_project_lite::pin_project;
use portcullis_core::Context;
use portcullis_core::route::GuardLayer;
use tower_layer::Layer;
use tower_service::Service;

/// Puts the guard of one route around an axum endpoint.
#[derive(Clone, Debug)]
pub(crate) struct AxumGuardLayer(GuardLayer);

impl AxumGuardLayer {
    pub(crate) fn new(guard: GuardLayer) -> Self {
        Self(guard)
    }
}

impl<S> Layer<S> for AxumGuardLayer {
    type Service = AxumGuard<S>;
    fn layer(&self, inner: S) -> AxumGuard<S> {
        AxumGuard { inner, guard: self.0.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AxumGuard<S> {
    inner: S,
    guard: GuardLayer,
}

impl<S> Service<Request<Body>> for AxumGuard<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = AxumGuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.guard.objection(&request) {
            None => AxumGuardFuture::Calling { call: self.inner.call(request) },
            Some(problem) => {
                let answer = problem.respond(&Context::of(&mut request)).map(Body::new);
                AxumGuardFuture::Refused { answer: Some(answer) }
            }
        }
    }
}

pin_project! {
    #[project = AxumGuardProj]
    pub(crate) enum AxumGuardFuture<F> {
        Calling { #[pin] call: F },
        Refused { answer: Option<Response> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for AxumGuardFuture<F> {
    type Output = Result<Response, Infallible>;
    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.project() {
            AxumGuardProj::Calling { call } => call.poll(cx),
            AxumGuardProj::Refused { answer } => {
                Poll::Ready(Ok(answer.take().expect("a future is not polled after it completed")))
            }
        }
    }
}
