//! Where the layers stand in a stack, and what they note.
use http::{Request, Response};
use portcullis_core::{Body, Context, EdgeLayer, Routes, Stack};
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, PriorityExt};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, TestClient, get};
use tower::{Layer, Service};

use crate::support::Endpoint;

#[tokio::test]
async fn each_stage_has_its_layer() {
    let routes = Routes::builder().get("/books", Endpoint::default()).public().build().unwrap();
    let service = Stack::new()
        .layer(EdgeLayer::new())
        .layer(OverloadLayer::before_routing(Concurrency::fixed(3)).per_address(2))
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(OverloadLayer::new(Concurrency::fixed(3)).fair())
        .layer(OverloadLayer::inner(Concurrency::adaptive().into()))
        .around(routes)
        .unwrap();
    TestClient::new(service).get("/books").send().await.assert_status(200);
}

#[test]
fn a_priority_that_nobody_reads_does_not_start() {
    let routes = || {
        let books = Endpoint::default();
        Routes::builder().get("/books", books).public().priority(Priority::High).build().unwrap()
    };
    let (one, other) = (routes(), routes());
    let front = OverloadLayer::before_routing(Concurrency::fixed(3));
    let stack = Stack::new().layer(EdgeLayer::new()).layer(front).layer(one.layer());
    let error = stack.around(one).unwrap_err().to_string();
    assert!(error.contains("`priority` option: add an `OverloadLayer`"), "{error}");
    let inner = OverloadLayer::inner(Concurrency::fixed(3));
    let stack = Stack::new().layer(EdgeLayer::new()).layer(other.layer()).layer(inner);
    assert!(stack.around(other).is_ok());
}

#[tokio::test]
async fn it_notes_what_it_decided_and_leaves_the_reason_in_the_context() {
    let clock = FakeTime::new().clock();
    let layer = OverloadLayer::before_routing(Concurrency::fixed(1));
    let mut service = layer.layer(Endpoint::default());
    let ask = |service: &mut dyn FnMut(Request<Body>)| {
        let mut request = get("/").clock(clock.clone()).build();
        let context = Context::of(&mut request);
        context.start_explaining();
        service(request);
        let notes = context.explain().unwrap().notes();
        (format!("{:?}", notes.first().unwrap()), context)
    };
    let mut held = None;
    let (note, _) = ask(&mut |request| held = Some(service.call(request)));
    assert!(note.contains("admitted: 1 of 1 are under way"), "{note}");
    let mut shed = None;
    let (note, context) = ask(&mut |request| shed = Some(service.call(request)));
    assert!(note.contains("shed: as many requests are under way as may be"), "{note}");
    let problem = context.problem().unwrap();
    assert_eq!(problem.kind().slug(), "server-busy");
    assert!(problem.is_safe_to_retry());
    assert!(problem.cause_error().unwrap().to_string().starts_with("shed"));
    let response: Response<Body> = shed.unwrap().await.unwrap();
    assert_eq!(response.status(), 503);
}
