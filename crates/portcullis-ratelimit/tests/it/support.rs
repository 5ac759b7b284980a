//! What the tests share: an inner service that counts, a client on fake time, and addresses.
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::Body;
use portcullis_testkit::{FakeTime, TestClient};
use tower::{Layer, Service};

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

/// A client of `layer`, alone around an endpoint, on `time`.
pub(crate) fn client_of<L: Layer<Endpoint>>(layer: &L, time: &FakeTime) -> TestClient<L::Service> {
    TestClient::new(layer.layer(Endpoint::default())).clock(time.clock())
}

/// A client's address, with some port.
pub(crate) fn peer(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 50_000)
}
