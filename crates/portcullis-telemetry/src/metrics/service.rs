//! The metrics as a service, for an operator's own listener.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context as Cx, Poll};

use http::{Method, Request, Response, StatusCode};
use portcullis_core::Body;
use tower_service::Service;

use super::Metrics;
use crate::answer;

/// Answers GET with the text of [`Metrics`]. Made by [`Metrics::service`].
#[derive(Clone, Debug)]
pub struct MetricsService {
    metrics: Metrics,
}

impl MetricsService {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl Metrics {
    /// The answer to GET or HEAD.
    pub(crate) fn answer(&self, method: &Method) -> Response<Body> {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        answer::text(StatusCode::OK, kind, self.render(), method)
    }
}

impl<B> Service<Request<B>> for MetricsService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        ready(Ok(match answer::method_not_allowed(&request) {
            Some(problem) => answer::problem(problem, &mut request),
            None => self.metrics.answer(request.method()),
        }))
    }
}
