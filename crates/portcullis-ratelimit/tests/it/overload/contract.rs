//! The layer keeps the contract of a layer, whether a request goes on at once or waits.
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, Queue};
use portcullis_testkit::{Contract, FakeTime, StubAuthenticateLayer, get};
use tower::{Layer, ServiceBuilder};

use super::support::{Gate, call, request_of};

#[tokio::test]
async fn it_keeps_the_contract() {
    let clock = FakeTime::new().clock();
    for layer in [
        OverloadLayer::new(Concurrency::fixed(20)),
        OverloadLayer::new(Concurrency::adaptive().into()),
        OverloadLayer::new(Concurrency::fixed(20)).fair(),
    ] {
        // What fills the house for those of low priority, and leaves room for the others.
        let full = layer.clone().layer(Gate::new().service());
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(call(&full, request_of(None, &clock)).await);
        }
        let layers = ServiceBuilder::new().layer(StubAuthenticateLayer::new()).layer(layer.clone());
        let (pro, anybody) = (clock.clone(), clock.clone());
        Contract::new(layers.into_inner())
            .passes(move || get("/").as_user("ada").clock(pro.clone()).build())
            .refuses(move || get("/").clock(anybody.clone()).build())
            .released(move || layer.in_flight() == 16)
            .check()
            .await;
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_with_a_queue() {
    let clock = FakeTime::new().clock();
    let queue = Queue::new(1);
    let layer = OverloadLayer::new(Concurrency::fixed(20)).queue(queue);
    let full = layer.clone().layer(Gate::new().service());
    let mut held = Vec::new();
    for _ in 0..17 {
        held.push(call(&full, request_of(None, &clock)).await);
    }
    assert_eq!((layer.in_flight(), layer.waiting()), (16, 1));
    let layers = ServiceBuilder::new().layer(StubAuthenticateLayer::new()).layer(layer.clone());
    let (pro, anybody) = (clock.clone(), clock.clone());
    Contract::new(layers.into_inner())
        .passes(move || get("/").as_user("ada").clock(pro.clone()).build())
        .refuses(move || get("/").clock(anybody.clone()).build())
        .released(move || layer.in_flight() == 16 && layer.waiting() == 1)
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_when_requests_wait_first() {
    let clock = FakeTime::new().clock();
    let layer = OverloadLayer::new(Concurrency::fixed(1))
        .priority(|_| Priority::High)
        .queue(Queue::new(10));
    // Each request that passes finds the house full, and gets its room a moment later.
    let full = layer.clone().layer(Gate::new().service());
    let (clock_, counted) = (clock.clone(), layer.clone());
    let before = move || {
        let mut full = full.clone();
        let request = request_of(None, &clock_);
        let held = tower::Service::call(&mut full, request);
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            drop(held);
        });
    };
    Contract::new(layer)
        .passes(move || {
            if counted.in_flight() == 0 {
                before();
            }
            get("/").clock(clock.clone()).build()
        })
        .check()
        .await;
}
