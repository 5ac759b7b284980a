//! A stack that replaces another goes on where it had got to.
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, Queue};
use portcullis_testkit::FakeTime;
use tower::Layer;

use super::support::{Gate, call, poll_once, request_of};

#[tokio::test(start_paused = true)]
async fn what_is_under_way_counts_for_both_and_who_waits_is_served_by_the_new_limit() {
    let clock = FakeTime::new().clock();
    let gate = Gate::new();
    let configured = |limit| {
        OverloadLayer::new(Concurrency::fixed(limit))
            .priority(|_| Priority::High)
            .queue(Queue::new(1))
    };
    let old = configured(2);
    let before = old.layer(gate.service());
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(call(&before, request_of(None, &clock)).await);
    }
    assert_eq!((old.in_flight(), old.waiting()), (2, 1));
    // The settings may still be changed after it was said.
    let new = configured(7).continuing(&old).share(Priority::High, 100);
    let after = new.layer(gate.service());
    assert_eq!(
        (new.in_flight(), new.limit()),
        (2, 2),
        "the old limit holds until the first request"
    );
    calls.push(call(&after, request_of(None, &clock)).await);
    assert_eq!((new.in_flight(), new.limit(), new.waiting()), (4, 7, 0));
    assert_eq!(poll_once(&mut calls[2]).await, None);
    assert_eq!(gate.served().len(), 4);
    drop(calls);
    assert_eq!(old.in_flight(), 0);
}

#[tokio::test]
async fn layers_with_other_settings_share_nothing_but_clones_do() {
    let clock = FakeTime::new().clock();
    let one = OverloadLayer::before_routing(Concurrency::fixed(2));
    let other = one.clone().per_address(1);
    let _held = call(&one.layer(Gate::new().service()), request_of(None, &clock)).await;
    assert_eq!((one.in_flight(), one.clone().in_flight(), other.in_flight()), (1, 1, 0));
}
