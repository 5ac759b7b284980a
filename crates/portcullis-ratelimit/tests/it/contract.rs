//! The layer keeps the contract of a layer.
use portcullis_ratelimit::{Key, RateLimitLayer, per_hour};
use portcullis_testkit::{Contract, FakeTime, StubAuthenticateLayer, get};
use tower::ServiceBuilder;

use crate::support::{client_of, peer};

#[tokio::test]
async fn it_keeps_the_contract_before_authentication() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(100));
    let client = client_of(&layer, &time);
    for _ in 0..100 {
        client.get("/").peer(peer("192.0.2.66")).send().await.assert_status(200);
    }
    let clock = time.clock();
    let from =
        move |address: &'static str| get("/").peer(peer(address)).clock(clock.clone()).build();
    let greedy = from.clone();
    Contract::new(layer)
        .passes(move || from("192.0.2.1"))
        .refuses(move || greedy("192.0.2.66"))
        .check()
        .await;
}

#[tokio::test]
async fn it_keeps_the_contract_behind_authentication() {
    let time = FakeTime::new();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(per_hour(100).by(Key::Identity)))
        .into_inner();
    let client = client_of(&layers, &time);
    for _ in 0..100 {
        client.get("/").as_user("greedy").send().await.assert_status(200);
    }
    let clock = time.clock();
    let of = move |who: &'static str| get("/").as_user(who).clock(clock.clone()).build();
    let greedy = of.clone();
    Contract::new(layers)
        .passes(move || of("modest"))
        .refuses(move || greedy("greedy"))
        .check()
        .await;
}
