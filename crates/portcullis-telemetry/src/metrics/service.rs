//! The metrics as a service, for an operator's own listener.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context as Cx, Poll};

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use portcullis_core::problem::kinds;
use portcullis_core::{Body, Context, Problem};
use tower_service::Service;

use super::Metrics;

/// Answers GET with the text of [`Metrics`]. Made by [`Metrics::service`].
#[derive(Clone, Debug)]
pub struct MetricsService {
    metrics: Metrics,
}

impl MetricsService {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
    fn answer<B>(&self, mut request: Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::new(kinds::METHOD_NOT_ALLOWED)
                .header(ALLOW, HeaderValue::from_static("GET, HEAD"))
                .respond(&Context::of(&mut request));
        }
        let text = self.metrics.render();
        let mut response = Response::new(Body::empty());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        if request.method() != Method::HEAD {
            *response.body_mut() = text.into();
        }
        response
    }
}

impl<B> Service<Request<B>> for MetricsService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request)))
    }
}
