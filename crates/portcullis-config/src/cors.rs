//! CORS, as the route says it.
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::route::RouteOption;
use portcullis_core::stack::{KnownRoute, Plan, Staged};
use portcullis_core::{Body, Context, stage};
use tower_http::cors::{CorsLayer, ResponseFuture};
use tower_layer::Layer;
use tower_service::Service;

/// Which pages of other origins may read the answers of a route.
#[derive(Clone, Debug)]
pub(crate) struct CorsOption(pub(crate) CorsLayer);

impl RouteOption for CorsOption {
    const NAME: &'static str = "cors";
    const READ_BY: &'static str = "the CORS layer of the gateway";
}

/// Answers preflights, and adds what browsers ask for, where the route says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CorsByRoute;

impl Staged for CorsByRoute {
    type Stage = stage::Answer;
    type Needs = KnownRoute;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<CorsOption>([]);
    }
}

impl<S> Layer<S> for CorsByRoute {
    type Service = CorsService<S>;
    fn layer(&self, inner: S) -> CorsService<S> {
        CorsService { inner }
    }
}

/// The service of [`CorsByRoute`].
#[derive(Clone, Debug)]
pub(crate) struct CorsService<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for CorsService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let context = Context::get(request.extensions());
        let option = context.and_then(Context::route).and_then(|route| route.options().get());
        let layer = option.map_or_else(CorsLayer::new, |CorsOption(layer)| layer.clone());
        // The one that is ready is the one that is called.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        layer.layer(ready).call(request)
    }
}
