//! What the tests share: an inner service that counts, a client on fake time, and addresses.
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll, Waker};

use http::{Request, Response};
use portcullis_core::Body;
use portcullis_testkit::{FakeTime, TestClient, get};
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

/// A request from this address, on this clock.
pub(crate) fn asking(address: &str, time: &FakeTime) -> Request<Body> {
    get("/").peer(peer(address)).clock(time.clock()).build()
}

/// What a service says to a request that it need not wait for.
pub(crate) fn answer<S>(service: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("it waits"),
    }
}

/// Numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`. (This is the generator `SplitMix64`.)
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
