//! Maintenance: layer, service, route option.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis::stack::{KnownRoute, Plan, Staged};
use portcullis::{
    Body, BoxError, Context, Problem, ProblemKind, Refusable, RouteOption, WithOptions, stage,
};
use tower_layer::Layer;
use tower_service::Service;

/// The shop is closed for a while. An application's own kind has the whole URI of its `type`.
pub const UNDER_MAINTENANCE: ProblemKind = ProblemKind::new(
    "https://shop.example/problems/under-maintenance",
    StatusCode::SERVICE_UNAVAILABLE,
    "The shop is under maintenance",
);

/// Whether there is maintenance. Off at first; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// Turns maintenance on or off.
    pub fn turn(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }
    /// Whether there is maintenance.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// As the option of a route: it stays open during maintenance.
#[derive(Clone, Copy, Debug)]
pub struct Survives;

impl RouteOption for Survives {
    const NAME: &'static str = "survives_maintenance";
}

/// Lets a route stay open during maintenance.
pub trait MaintenanceExt: WithOptions {
    /// Keeps the route open. Needs a [`MaintenanceLayer`] in the stack; otherwise the stack does not start.
    #[must_use]
    fn survives_maintenance(self) -> Self {
        self.with_option(Survives)
    }
}

impl<T: WithOptions> MaintenanceExt for T {}

/// Applies [`Maintenance`].
#[derive(Clone, Debug)]
pub struct MaintenanceLayer {
    switch: Switch,
    retry_after: Duration,
}

impl MaintenanceLayer {
    /// Closes every route that does not survive maintenance while `switch` is on.
    pub fn new(switch: Switch) -> Self {
        Self { switch, retry_after: Duration::from_secs(300) }
    }
    /// When clients should come back. Default: in five minutes.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }

    /// What to answer instead of calling the inner service.
    fn objection(&self, context: &Context) -> Option<Problem> {
        let survives =
            context.route().is_some_and(|route| route.options().get::<Survives>().is_some());
        if survives || !self.switch.is_on() {
            return None;
        }
        context.note("maintenance", || "the shop is closed");
        let seconds = HeaderValue::from(self.retry_after.as_secs());
        Some(Problem::new(UNDER_MAINTENANCE).header(RETRY_AFTER, seconds).retry_is_safe())
    }
}

impl<S> Layer<S> for MaintenanceLayer {
    type Service = Maintenance<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Maintenance { inner, layer: self.clone() }
    }
}

/// It stands behind the routes, since it asks them, and before all that costs something.
impl Staged for MaintenanceLayer {
    type Stage = stage::Answer;
    type Needs = KnownRoute;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<Survives>([]);
    }
}

/// Answers 503 with `Retry-After` during maintenance; the inner service is not called then.
#[derive(Clone, Debug)]
pub struct Maintenance<S> {
    inner: S,
    layer: MaintenanceLayer,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Maintenance<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Refusable<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        match self.layer.objection(&context) {
            None => Refusable::calling(self.inner.call(request)),
            Some(problem) => Refusable::answered(problem.respond(&context)),
        }
    }
}
