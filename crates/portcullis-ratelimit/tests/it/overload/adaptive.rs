//! The limit finds what a server can do, and keeps it at that under ten times the load.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use portcullis_core::Body;
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, Queue};
use portcullis_testkit::FakeTime;
use tower::util::BoxCloneSyncService;
use tower::{Layer, service_fn};

use super::support::{Boxed, Dice, Outcome, call, poll_once, request_of, server, simulate};

/// A server of ten workers that need 10 ms each: one request a millisecond.
struct Sim {
    time: FakeTime,
    layer: OverloadLayer,
    takes: Arc<AtomicUsize>,
    service: Boxed,
    plain: Boxed,
    dice: Dice,
}

impl Sim {
    fn new(edit: impl FnOnce(OverloadLayer) -> OverloadLayer) -> Self {
        let limit = Concurrency::adaptive().between(2, 500).initial(20);
        let layer = edit(OverloadLayer::new(limit.into()).priority(|_| Priority::High));
        let takes = Arc::new(AtomicUsize::new(10));
        let plain = server(10, Arc::clone(&takes));
        let service = BoxCloneSyncService::new(layer.layer(plain.clone()));
        Self { time: FakeTime::new(), layer, takes, service, plain, dice: Dice::new(3) }
    }
    /// Sends this many times what the server can do.
    async fn run(&mut self, percent: u64, millis: u64) -> Outcome {
        let service = self.service.clone();
        self.send(&service, percent, millis).await
    }
    async fn send(&mut self, service: &Boxed, percent: u64, millis: u64) -> Outcome {
        let clock = self.time.clock();
        let dice = &mut self.dice;
        let outcomes = simulate(&self.time, service, millis, 1, |_| {
            (0..dice.arrivals(percent)).map(|_| (0, request_of(None, &clock))).collect()
        });
        outcomes.await[0]
    }
}

#[tokio::test(start_paused = true)]
async fn under_ten_times_the_load_the_server_does_what_it_can_and_recovers() {
    for (what, queue) in [("without a queue", None), ("with a queue", Some(Queue::new(50)))] {
        let mut sim = Sim::new(|layer| match queue {
            Some(queue) => layer.queue(queue),
            None => layer,
        });
        let calm = sim.run(50, 500).await;
        assert!(calm.success() > 0.99, "{what}: {calm:?}");
        let overload = sim.run(1_000, 3_000).await;
        assert!(overload.good >= 2_700, "{what}: {overload:?}");
        assert!(overload.good + overload.shed == overload.sent, "{what}: all others were shed");
        let slowest = if queue.is_some() { 500 } else { 0 };
        assert!(overload.slowest_shed <= slowest, "{what}: {overload:?}");
        assert!((10..100).contains(&sim.layer.limit()), "{what}: {}", sim.layer.limit());
        let after = sim.run(80, 500).await;
        assert!(after.success() > 0.98, "{what}: {after:?}");
        assert_eq!((sim.layer.in_flight(), sim.layer.waiting(), sim.layer.counted()), (0, 0, 0));
    }
    // Without the layer, everything that is answered is answered too late.
    let mut sim = Sim::new(|layer| layer);
    let plain = sim.plain.clone();
    let overload = sim.send(&plain, 1_000, 1_000).await;
    assert!(overload.good < 400, "{overload:?}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_follows_a_server_that_becomes_slower_and_quicker_again() {
    let mut sim = Sim::new(|layer| layer);
    sim.run(300, 1_000).await;
    // Half as quick for a while: the server does half as much, and the layer sees to it that it does all of that.
    sim.takes.store(20, Ordering::Relaxed);
    let slow = sim.run(300, 4_000).await;
    assert!(slow.good >= 1_800, "{slow:?}");
    sim.takes.store(10, Ordering::Relaxed);
    sim.run(300, 1_000).await;
    let quick = sim.run(300, 2_000).await;
    assert!(quick.good >= 1_800, "{quick:?}");
}

#[tokio::test]
async fn answers_that_say_busy_lower_the_limit_and_dropped_calls_say_nothing() {
    let time = FakeTime::new();
    for (status, limit) in [(503, 90), (504, 90), (500, 100), (200, 100)] {
        let adaptive = Concurrency::adaptive().between(2, 200).initial(100);
        let layer = OverloadLayer::inner(adaptive.into());
        let service = layer.layer(service_fn(move |_: Request<Body>| {
            let answer = Response::builder().status(status).body(Body::empty());
            std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
        }));
        drop(call(&service, request_of(None, &time.clock())).await);
        assert_eq!(layer.limit(), 100);
        let mut call = call(&service, request_of(None, &time.clock())).await;
        assert_eq!(poll_once(&mut call).await.unwrap(), status);
        assert_eq!(layer.limit(), limit, "{status}");
    }
}
