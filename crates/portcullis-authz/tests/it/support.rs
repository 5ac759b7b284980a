//! What the tests share: an endpoint, callers, and a way to look at the context afterwards.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll};

use http::{Request, Response, StatusCode};
use portcullis_authz::Roles;
use portcullis_core::{AuthState, Body, Challenges, Context};
use portcullis_testkit::TestRequest;
use tower::{Service, ServiceExt};

/// A reader, a clerk who is a reader too, and one who may everything.
pub(crate) fn roles() -> Roles {
    let roles = Roles::builder().role("reader").permits("books:read");
    let roles = roles.role("clerk").inherits("reader").permits("orders:*");
    roles.role("root").permits("*").build().unwrap()
}

/// Answers 200, and counts how often it was called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    calls: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

/// Sends a request, and hands back the status with what the layers left in its context.
pub(crate) async fn send<S>(service: S, request: TestRequest) -> (StatusCode, Context)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = request.build();
    let context = Context::of(&mut request);
    context.start_explaining();
    let answer = service.oneshot(request).await.unwrap();
    (answer.status(), context)
}

/// As a step of a `ServiceBuilder`: authentication that has no scheme, so that nobody can say who they are.
pub(crate) fn without_schemes(mut request: Request<Body>) -> Request<Body> {
    let nobody = AuthState::Anonymous(Challenges::default());
    Context::of(&mut request).set_auth(nobody);
    request
}
