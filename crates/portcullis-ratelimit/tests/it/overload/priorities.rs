//! Who is shed first, and who gets through.
use std::convert::Infallible;
use std::task::{Context as Cx, Waker};

use http::{Request, Response};
use portcullis_core::{Body, Context, EdgeLayer, Routes, Stack};
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, PriorityExt};
use portcullis_testkit::{AsUser, FakeTime, StubAuthenticateLayer, TestClient, as_user, get};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::support::{Gate, call, poll_once, request_of};

/// How many of each get in one after the other while nobody leaves: first all of the last, and so on.
async fn fill(layer: OverloadLayer, users: [Option<AsUser>; 3]) -> [usize; 3] {
    let clock = FakeTime::new().clock();
    let service = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(layer)
        .service(Gate::new().service());
    let mut held = Vec::new();
    let mut admitted = [0; 3];
    for (user, admitted) in users.into_iter().zip(&mut admitted) {
        for _ in 0..200 {
            let mut call = call(&service, request_of(user.clone(), &clock)).await;
            match poll_once(&mut call).await {
                None => *admitted += 1,
                Some(status) => assert_eq!(status, 503),
            }
            held.push(call);
        }
    }
    admitted
}

#[tokio::test]
async fn the_lower_ones_are_shed_first() {
    let layer = || OverloadLayer::new(Concurrency::fixed(100));
    let users = || [None, Some(as_user("ada")), Some(as_user("grace").plan("pro"))];
    for (what, layer, admitted) in [
        ("the defaults", layer(), [80, 10, 10]),
        ("another plan is paid", layer().paid_plans(["gold"]), [80, 10, 0]),
        ("this plan is paid", layer().paid_plans(["gold", "pro"]), [80, 10, 10]),
        (
            "other shares",
            layer().share(Priority::Low, 10).share(Priority::Normal, 50),
            [10, 40, 50],
        ),
        ("all the same", layer().priority(|_| Priority::High), [100, 0, 0]),
        ("a critical one has a reserve", layer().priority(critical_for("grace")), [100, 0, 10]),
        ("and of another size", layer().priority(critical_for("grace")).reserve(3), [100, 0, 3]),
    ] {
        assert_eq!(fill(layer, users()).await, admitted, "{what}");
    }
}

fn critical_for(name: &'static str) -> impl Fn(&Context) -> Priority + Send + Sync + 'static {
    move |context| {
        let is_it = context.identity().is_some_and(|identity| identity.subject() == name);
        if is_it { Priority::Critical } else { Priority::High }
    }
}

#[tokio::test]
async fn a_route_that_is_critical_gets_through_when_all_else_is_full() {
    let gate = Gate::new();
    let healthy =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let routes = Routes::builder()
        .get("/books", BoxCloneSyncService::new(gate.service()))
        .public()
        .get("/health", BoxCloneSyncService::new(healthy))
        .public()
        .priority(Priority::Critical)
        .build()
        .unwrap();
    // Anonymous callers may use 80 % of it, which are two.
    let layer = OverloadLayer::inner(Concurrency::fixed(3));
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).layer(layer.clone());
    let service = stack.around(routes).unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut call = Box::pin(service.clone().oneshot(get("/books").build()));
        assert!(call.as_mut().poll(&mut Cx::from_waker(Waker::noop())).is_pending());
        held.push(call);
    }
    let client = TestClient::new(service);
    client.get("/books").send().await.assert_problem("server-busy");
    assert_eq!(layer.in_flight(), 2);
    client.get("/health").send().await.assert_status(200);
}
