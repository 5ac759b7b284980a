//! What a stack allocates: bodies are boxed once, and a layer that decides at once allocates nothing of its own.
use std::alloc::System;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis::route::{Guard, GuardLayer};
use portcullis::{Body, Context};
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
async fn a_body_is_boxed_once_however_many_layers_there_are() {
    let one = allocations(guarded(service_fn(text))).await;
    let five = allocations(guarded(guarded(guarded(guarded(guarded(service_fn(text))))))).await;
    assert_eq!((one, five), (1, 1), "one box, made where the foreign body becomes ours");
}
