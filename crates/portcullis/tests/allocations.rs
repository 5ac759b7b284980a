//! What a stack allocates: bodies are boxed once, and a layer that decides at once allocates nothing of its own.
use std::alloc::System;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis::route::{Guard, GuardLayer};
use portcullis::{
    Body, Connection, Context, Draining, Informational, Revocation, SendInformational,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

async fn text(_: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"text"))))
}

/// One more layer of ours.
fn guarded<S>(inner: S) -> Guard<S> {
    GuardLayer::service().layer(inner)
}

/// A connection that sends no informational responses.
struct Deaf;

impl SendInformational for Deaf {
    fn send(&self, _: u64, _: Response<()>) {}
}

/// The allocations of one request whose context exists already.
async fn allocations<S>(service: S) -> usize
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = Request::new(Body::empty());
    Context::of(&mut request);
    let region = Region::new(ALLOCATOR);
    let response = service.oneshot(request).await.unwrap();
    let counted = region.change().allocations;
    drop(response);
    counted
}

// One test: the allocator counts for the whole process.
#[tokio::test]
async fn a_body_is_boxed_once_and_what_a_server_or_a_layer_attaches_costs_no_box() {
    let one = allocations(guarded(service_fn(text))).await;
    let five = allocations(guarded(guarded(guarded(guarded(guarded(service_fn(text))))))).await;
    assert_eq!((one, five), (1, 1), "one box, made where the foreign body becomes ours");

    let revocation = Revocation::new();
    for body in [Body::from("full"), Body::new(Full::new(Bytes::from_static(b"foreign")))] {
        let region = Region::new(ALLOCATOR);
        let body = body.until(revocation.clone());
        let counted = region.change().allocations;
        assert_eq!(counted, 0, "{body:?} that ends with its identity");
    }
    // The sink is the connection's; each request has only a number of its own.
    let sink: Arc<dyn SendInformational> = Arc::new(Deaf);
    let connection = Connection::new(None).with_draining(Draining::new());
    let region = Region::new(ALLOCATOR);
    let connection = connection.with_informational(Informational::new(Arc::clone(&sink), 7));
    let counted = region.change().allocations;
    assert_eq!(counted, 0, "{connection:?}");
}
