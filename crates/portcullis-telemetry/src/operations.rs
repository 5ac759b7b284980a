//! What operators and load balancers ask of a process, for a listener of its own.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context as Cx, Poll};

use http::{Request, Response, StatusCode};
use portcullis_core::problem::kinds::ROUTE_NOT_FOUND;
use portcullis_core::{Body, Readiness};
use tower_service::Service;

use crate::{Metrics, answer};

/// Answers what operators and load balancers ask of a process. Cheap to clone.
///
/// | path | answers |
/// |---|---|
/// | `/healthz` | 200 `ok`, as long as the process lives |
/// | `/readyz` | 200 `ready`, or 503 with what is missing, by name |
/// | `/metrics` | the text of [`Metrics`]; 404 where it was given none |
///
/// GET and HEAD are answered, and nothing is stored by a cache. Whatever else is asked for is 404 or 405.
///
/// # Deployment
/// Give it a listener that only operators and load balancers reach: it asks nobody who they are.
///
/// ```
/// use portcullis_core::{Body, Readiness};
/// use portcullis_telemetry::{Metrics, Operations};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let readiness = Readiness::new();
/// let database = readiness.expect("database");
/// let operations = Operations::new().readiness(readiness).metrics(Metrics::default());
///
/// let ask = || http::Request::get("/readyz").body(Body::empty());
/// assert_eq!(operations.clone().oneshot(ask()?).await?.status(), 503);
/// database.ready();
/// assert_eq!(operations.clone().oneshot(ask()?).await?.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Operations {
    readiness: Option<Readiness>,
    metrics: Option<Metrics>,
}

impl Operations {
    /// Says that the process lives, and that it is ready.
    pub fn new() -> Self {
        Self::default()
    }
    /// What tells whether the process may get traffic. Default: it may, as long as it lives.
    #[must_use]
    pub fn readiness(self, readiness: Readiness) -> Self {
        Self { readiness: Some(readiness), ..self }
    }
    /// What was counted. Default: nothing, so that `/metrics` is 404.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    fn answer<B>(&self, mut request: Request<B>) -> Response<Body> {
        let asked = match request.uri().path() {
            "/healthz" => Some(Asked::Health),
            "/readyz" => Some(Asked::Readiness),
            "/metrics" => self.metrics.as_ref().map(Asked::Metrics),
            _ => None,
        };
        let Some(asked) = asked else {
            return answer::problem(ROUTE_NOT_FOUND.into(), &mut request);
        };
        if let Some(problem) = answer::method_not_allowed(&request) {
            return answer::problem(problem, &mut request);
        }
        let method = request.method();
        let plain = |status, text| answer::text(status, answer::PLAIN, text, method);
        match asked {
            Asked::Health => plain(StatusCode::OK, "ok\n".to_owned()),
            Asked::Metrics(metrics) => metrics.answer(method),
            Asked::Readiness => {
                let state = self.readiness.clone().unwrap_or_default().state();
                let status =
                    if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                plain(status, format!("{state}\n"))
            }
        }
    }
}

/// What was asked for.
enum Asked<'a> {
    Health,
    Readiness,
    Metrics(&'a Metrics),
}

impl<B> Service<Request<B>> for Operations {
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
