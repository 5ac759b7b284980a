//! One tenant that asks for ten times its share takes nothing from the others.
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use portcullis_ratelimit::{Concurrency, OverloadLayer, Queue};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, as_user};
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use super::support::{Boxed, Dice, Gate, Outcome, call, poll_once, request_of, server, simulate};

/// Twenty workers that need 10 ms each serve two requests a millisecond, so a fifth of that is 0.4. Four tenants ask for 0.3 each, in
/// by chance; the fifth, if it is there, asks for 4, and is always first.
async fn run(layer: &OverloadLayer, greedy: bool) -> Vec<Outcome> {
    let time = FakeTime::new();
    let service = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(layer.clone())
        .service(server(20, Arc::new(AtomicUsize::new(10))));
    let service: Boxed = BoxCloneSyncService::new(service);
    let (mut dice, mut greed) = (Dice::new(7), Dice::new(11));
    let clock = time.clock();
    let users: Vec<_> =
        (0..5).map(|at| as_user("x").tenant(format!("t{at}")).plan("pro")).collect();
    simulate(&time, &service, 2_000, 5, |_| {
        let mut arrivals = Vec::new();
        for tenant in [4, 0, 1, 2, 3] {
            let count = match tenant {
                4 if greedy => greed.arrivals(400),
                4 => 0,
                _ => dice.arrivals(30),
            };
            for _ in 0..count {
                arrivals.push((tenant, request_of(Some(users[tenant].clone()), &clock)));
            }
        }
        arrivals
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn with_a_queue_the_others_do_not_notice() {
    let layer = || OverloadLayer::new(Concurrency::fixed(20)).fair().queue(Queue::new(50));
    let (alone, together) = (run(&layer(), false).await, run(&layer(), true).await);
    for tenant in 0..4 {
        assert!(alone[tenant].sent > 400);
        assert_eq!(alone[tenant].sent, together[tenant].sent);
        assert_eq!(together[tenant].good, alone[tenant].good, "{alone:?} {together:?}");
        assert_eq!(together[tenant].shed, 0);
    }
    // What is left is served: 2 - 1.2 a millisecond.
    assert!(together[4].good > 1_400, "{together:?}");
    // First come, first served is another thing.
    let layer = OverloadLayer::new(Concurrency::fixed(20)).queue(Queue::new(50));
    let unfair = run(&layer, true).await;
    assert!(unfair[..4].iter().all(|one| one.success() < 0.6), "{unfair:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_they_lose_only_what_comes_in_bunches() {
    let layer = || OverloadLayer::new(Concurrency::fixed(20));
    let fair = run(&layer().fair(), true).await;
    let unfair = run(&layer(), true).await;
    for tenant in 0..4 {
        let (with, without) = (fair[tenant].success(), unfair[tenant].success());
        assert!(with > 0.75 && without < 0.5, "{fair:?} {unfair:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_alone_may_use_everything_until_others_come() {
    let clock = FakeTime::new().clock();
    let layer = OverloadLayer::new(Concurrency::fixed(20)).fair();
    let service = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(layer.clone())
        .service(Gate::new().service());
    let of = |tenant: &str| request_of(Some(as_user("x").tenant(tenant).plan("pro")), &clock);
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut call = call(&service, of("a")).await;
        assert_eq!(poll_once(&mut call).await, None);
        held.push(call);
    }
    // That it found no room itself is nobody else's wish for it.
    let mut more = call(&service, of("a")).await;
    assert_eq!(poll_once(&mut more).await.unwrap(), 503);
    held.truncate(12);
    for _ in 12..20 {
        let mut call = call(&service, of("a")).await;
        assert_eq!(poll_once(&mut call).await, None);
        held.push(call);
    }
    // The other finds no room, but is remembered: the first gets no more than what leaves room for it.
    let mut other = call(&service, of("b")).await;
    assert_eq!(poll_once(&mut other).await.unwrap(), 503);
    held.truncate(18);
    let mut more = call(&service, of("a")).await;
    assert_eq!(poll_once(&mut more).await.unwrap(), 503);
    for _ in 0..2 {
        let mut other = call(&service, of("b")).await;
        assert_eq!(poll_once(&mut other).await, None);
        held.push(other);
    }
    assert_eq!((layer.in_flight(), layer.counted()), (20, 2));
    drop(held);
    assert_eq!((layer.in_flight(), layer.counted()), (0, 0));
}
