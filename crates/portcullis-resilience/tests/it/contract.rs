//! Each layer keeps the contract of a layer, and lets go of what it holds.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use portcullis_core::Deadline;
use portcullis_resilience::{
    Breaker, BreakerLayer, BreakerState, Bulkhead, BulkheadLayer, HedgeLayer, RetryLayer,
    TimeoutLayer,
};
use portcullis_testkit::{Contract, FakeTime, get, request};

use crate::support::clock;

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_time() {
    let clock = clock();
    let now = clock.now();
    Contract::new(TimeoutLayer::new(Duration::from_secs(60)).clock(clock))
        .passes(|| get("/").build())
        .refuses(move || {
            let mut late = get("/").build();
            late.extensions_mut().insert(Deadline::starting(now).at_most(Duration::ZERO));
            late
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead() {
    let bulkhead = Bulkhead::new(2);
    // While these are held, one more is one too many.
    let held = Arc::new(Mutex::new(Vec::new()));
    let (seen, full, taken) = (bulkhead.clone(), bulkhead.clone(), Arc::clone(&held));
    Contract::new(BulkheadLayer::new(bulkhead))
        .passes(move || {
            held.lock().unwrap().clear();
            get("/").build()
        })
        .refuses(move || {
            taken.lock().unwrap().extend((0..2).map(|_| full.try_acquire().unwrap()));
            get("/").build()
        })
        .released(move || matches!(seen.under_way(), 0 | 2))
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker() {
    let time = FakeTime::new();
    let open = Duration::from_secs(10);
    let breaker =
        Breaker::builder().minimum(1).probes(1_000).open(open).clock(time.clock()).build();
    let failing = breaker.clone();
    Contract::new(BreakerLayer::new(breaker))
        .passes(move || {
            time.advance(open);
            get("/").build()
        })
        .refuses(move || {
            failing.try_acquire().unwrap().failed();
            assert_eq!(failing.state(), BreakerState::Open);
            get("/").build()
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn retries() {
    Contract::new(RetryLayer::new(2)).passes(|| get("/").build()).check().await;
    Contract::new(RetryLayer::new(2))
        .passes(|| request(Method::PUT, "/").body("something").build())
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hedge() {
    Contract::new(HedgeLayer::new(Duration::from_secs(60)))
        .passes(|| get("/").build())
        .check()
        .await;
}
