//! What several tests need: a whole stack around a router, and somebody who decides.
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_axum::Guarded;
use portcullis_core::route::{Guardedness, Restricted, RouteLayer};
use portcullis_core::stack::{Enforcement, Staged};
use portcullis_core::{Body, Context, Decision, EdgeLayer, Requirement, Stack, Verdict, stage};
use portcullis_testkit::{StubAuthenticateLayer, TestClient};
use tower::{Layer, Service};

/// Whoever is asked says yes, or says nothing at all: stands where authorization does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decide {
    Allow,
    Nothing,
}

impl<S> Layer<S> for Decide {
    type Service = Decided<S>;
    fn layer(&self, inner: S) -> Decided<S> {
        Decided { inner, decide: *self }
    }
}

impl Staged for Decide {
    type Stage = stage::Authorize;
    type Needs = ();
    type Provides = Enforcement;
}

#[derive(Clone, Debug)]
pub(crate) struct Decided<S> {
    inner: S,
    decide: Decide,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Decided<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = Context::of(&mut request);
        if self.decide == Decide::Allow {
            let route = context.route().cloned();
            let allow = Decision::new(Verdict::Allow, route, Requirement::Public, "test");
            context.set_decision(allow);
        }
        self.inner.call(request)
    }
}

/// A client of `api` behind a whole stack that believes each caller.
pub(crate) fn client<G: Guardedness>(
    api: Guarded<(), G>,
    decide: Decide,
) -> TestClient<
    impl Service<Request<Body>, Response = Response<axum::body::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync,
> {
    // Whatever the kind of the router: somebody decides about all of its routes.
    let routes = RouteLayer::<Restricted>::new(Arc::clone(api.route_layer().table()));
    let stack = Stack::new()
        .layer(EdgeLayer::new())
        .layer(routes)
        .layer(StubAuthenticateLayer::new())
        .layer(decide);
    TestClient::new(stack.around(api).unwrap())
}
