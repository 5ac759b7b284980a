//! Who finds no room waits, for a while.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll, Wake, Waker};
use std::time::Duration;

use http::Request;
use portcullis_core::{Body, Clock, Context};
use portcullis_ratelimit::{Concurrency, OverloadLayer, Priority, Queue};
use portcullis_testkit::{AsUser, FakeTime, StubAuthenticateLayer, as_user};
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use super::support::{Boxed, Call, Gate, call, poll_once, request_of};

struct House {
    time: FakeTime,
    clock: Clock,
    gate: Gate,
    layer: OverloadLayer,
    service: Boxed,
}

/// A house with room for one, and a queue.
fn house(edit: impl FnOnce(OverloadLayer) -> OverloadLayer) -> House {
    let time = FakeTime::new();
    let layer = edit(OverloadLayer::new(Concurrency::fixed(1)).reserve(0).queue(Queue::new(10)));
    let gate = Gate::new();
    let service = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(layer.clone())
        .service(gate.service());
    let service = BoxCloneSyncService::new(service);
    House { clock: time.clock(), time, gate, layer, service }
}

impl House {
    async fn enter(&self, user: Option<AsUser>) -> Call {
        call(&self.service, request_of(user, &self.clock)).await
    }
    fn request_with(&self, limit: Duration) -> Request<Body> {
        let mut request = request_of(None, &self.clock);
        Context::of(&mut request).limit_time(limit);
        request
    }
    async fn pass(&self, time: Duration) {
        self.time.advance_with_tokio(time).await;
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn the_next_is_the_most_important_and_then_whose_turn_it_is() {
    let house = house(OverloadLayer::fair);
    let mut calls = vec![house.enter(Some(as_user("first"))).await];
    for (who, tenant, plan) in
        [("nobody", "", ""), ("a1", "a", ""), ("a2", "a", ""), ("b1", "b", ""), ("pro", "b", "pro")]
    {
        let user = as_user(who).tenant(tenant);
        let user = if plan.is_empty() { user } else { user.plan(plan) };
        calls.push(house.enter((who != "nobody").then_some(user)).await);
    }
    assert_eq!((house.layer.in_flight(), house.layer.waiting()), (1, 5));
    for _ in 0..6 {
        house.gate.answer_one();
        for at in (0..calls.len()).rev() {
            // Those who wait are not served out of turn because they ask.
            if poll_once(&mut calls[at]).await.is_some() {
                drop(calls.remove(at));
            }
        }
    }
    // Whoever was let in is seen by the inner service only when it is polled again.
    for mut call in calls {
        house.gate.answer_one();
        poll_once(&mut call).await;
    }
    assert_eq!(house.gate.served(), ["first", "pro", "a1", "b1", "a2", "nobody"]);
    assert_eq!((house.layer.in_flight(), house.layer.waiting(), house.layer.counted()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_leaves_the_queue_and_passes_on_what_it_was_given() {
    let house = house(|layer| layer);
    let under_way = house.enter(None).await;
    let (mut one, mut two, mut three) =
        (house.enter(None).await, house.enter(None).await, house.enter(None).await);
    for call in [&mut one, &mut two, &mut three] {
        assert_eq!(poll_once(call).await, None);
    }
    drop(one);
    assert_eq!(house.layer.waiting(), 2);
    // The second is given the room, and goes before it is polled again.
    drop(under_way);
    assert_eq!((house.layer.in_flight(), house.layer.waiting()), (1, 1));
    drop(two);
    assert_eq!((house.layer.in_flight(), house.layer.waiting()), (1, 0));
    assert_eq!(poll_once(&mut three).await, None);
    assert_eq!(house.gate.served().len(), 2, "the first, and the third");
    drop(three);
    assert_eq!(house.layer.in_flight(), 0);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn room_for_one_wakes_one() {
    let house = house(|layer| layer);
    let under_way = house.enter(None).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let woken = Arc::new(Woken::default());
        let mut call = house.enter(None).await;
        let waker = Waker::from(Arc::clone(&woken));
        assert!(matches!(call.as_mut().poll(&mut Cx::from_waker(&waker)), Poll::Pending));
        waiting.push((call, woken));
    }
    let woken = |waiting: &[(Call, Arc<Woken>)]| {
        waiting.iter().map(|(_, woken)| woken.0.load(Ordering::SeqCst)).collect::<Vec<_>>()
    };
    drop(under_way);
    assert_eq!(woken(&waiting), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_deadline_or_with_the_longest_wait() {
    for (what, deadline, at_most, ends) in [
        ("the deadline is nearer", Some(50), 500, 50),
        ("the longest wait is nearer", Some(900), 500, 500),
        ("without a deadline", None, 300, 300),
    ] {
        let house = house(|layer| layer.queue(Queue::new(10).at_most(ms(at_most))));
        let _under_way = house.enter(None).await;
        let mut waiting = match deadline {
            Some(limit) => call(&house.service, house.request_with(ms(limit))).await,
            None => house.enter(None).await,
        };
        house.pass(ms(ends - 1)).await;
        assert_eq!(poll_once(&mut waiting).await, None, "{what}");
        // Tokio's timers are exact to the millisecond, and round up.
        house.pass(ms(2)).await;
        assert_eq!(poll_once(&mut waiting).await.unwrap(), 503, "{what}");
        drop(waiting);
        assert_eq!(house.layer.waiting(), 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_over_neither_waits_nor_begins() {
    let house = house(|layer| layer);
    let under_way = house.enter(None).await;
    let late = house.request_with(ms(50));
    let mut waits = call(&house.service, house.request_with(ms(50))).await;
    assert_eq!(poll_once(&mut waits).await, None);
    // Only the clock of the request moves, so that it is the permit that comes too late, not the timer.
    house.time.advance(ms(50));
    let mut late = call(&house.service, late).await;
    assert_eq!(house.layer.waiting(), 1);
    assert_eq!(poll_once(&mut late).await.unwrap(), 503);
    drop(under_way);
    assert_eq!(poll_once(&mut waits).await.unwrap(), 503);
    assert_eq!((house.gate.served().len(), house.layer.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_served_in_its_time_is_told_at_once() {
    let house = house(|layer| layer.priority(|_| Priority::High));
    let mut calls = vec![house.enter(None).await];
    for _ in 0..4 {
        calls.push(house.enter(None).await);
    }
    // Two are served, 40 ms after each other; two more wait.
    for _ in 0..2 {
        house.pass(ms(40)).await;
        drop(calls.remove(0));
        assert_eq!(poll_once(&mut calls[0]).await, None);
    }
    assert_eq!(house.layer.waiting(), 2);
    let mut hasty = call(&house.service, house.request_with(ms(100))).await;
    assert_eq!(poll_once(&mut hasty).await.unwrap(), 503);
    let mut patient = call(&house.service, house.request_with(ms(140))).await;
    assert_eq!(poll_once(&mut patient).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sheds_at_once() {
    let house = house(|layer| layer.queue(Queue::new(2)));
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut call = house.enter(None).await;
        assert_eq!(poll_once(&mut call).await, None);
        calls.push(call);
    }
    let mut fourth = house.enter(None).await;
    assert_eq!(poll_once(&mut fourth).await.unwrap(), 503);
    // One that is more important takes the place of the newest.
    let mut pro = house.enter(Some(as_user("pro").plan("pro"))).await;
    assert_eq!(poll_once(&mut pro).await, None);
    assert_eq!(poll_once(&mut calls[2]).await.unwrap(), 503);
    assert_eq!(house.layer.waiting(), 2);
}
