//! What is sent again, how often, and when.
use std::io;
use std::time::Duration;

use http::{Method, Request};
use portcullis_core::{Body, Deadline};
use portcullis_resilience::{
    Backoff, Bulkhead, BulkheadLayer, Outcome, Outcomes, RetryBudget, RetryLayer,
};
use proptest::prelude::*;
use tower::{Layer, ServiceBuilder};

use crate::support::{Act, How, act, call, clock, paused, server, status};

const NO_WAIT: Backoff = Backoff::new(Duration::ZERO, Duration::ZERO);

fn request(method: Method, body: &'static str) -> Request<Body> {
    Request::builder().method(method).body(Body::from(body)).unwrap()
}

#[derive(Clone)]
struct NeverSeen;

impl Outcomes<io::Error> for NeverSeen {
    fn of_error(&self, _: &io::Error) -> Outcome {
        Outcome::Unsent
    }
}

#[test]
fn only_what_does_no_harm_is_sent_again() {
    let failing = [How::Status(503), How::Status(502), How::Status(504), How::Error];
    let fine = [How::Status(200), How::Status(404), How::Status(500), How::Status(429)];
    for method in
        [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::POST, Method::PATCH]
    {
        for how in failing.into_iter().chain(fine) {
            paused(async {
                let (inner, seen) = server(vec![act(0, how), act(0, How::Status(201))]);
                let mut service = RetryLayer::new(1).backoff(NO_WAIT).layer(inner);
                let result = call(&mut service, request(method.clone(), "all of it")).await;
                let again = method.is_idempotent() && failing.contains(&how);
                assert_eq!(seen.calls().len(), if again { 2 } else { 1 }, "{method} {how:?}");
                let bodies = seen.calls().into_iter().all(|(_, body)| body == "all of it");
                assert!(bodies, "{method} {how:?}: {:?}", seen.calls());
                if again {
                    assert_eq!(status(&result), Some(201));
                }
            });
        }
    }
}

#[test]
fn what_nobody_has_seen_is_sent_again_whatever_it_is() {
    paused(async {
        let (inner, seen) = server(vec![act(0, How::Error), act(0, How::Status(200))]);
        let layer = RetryLayer::new(1).backoff(NO_WAIT).outcomes(NeverSeen);
        let mut service = layer.layer(inner);
        let result = call(&mut service, request(Method::POST, "a payment")).await;
        assert_eq!((status(&result), seen.calls().len()), (Some(200), 2));
        assert_eq!(seen.calls()[1].1, "a payment");
    });
    // So is what a layer further in refused, for as long as it says.
    paused(async {
        let bulkhead = Bulkhead::new(1);
        let (inner, seen) = server(vec![act(0, How::Status(200))]);
        let mut service = ServiceBuilder::new()
            .layer(RetryLayer::new(1))
            .layer(BulkheadLayer::new(bulkhead.clone()))
            .service(inner);
        let held = bulkhead.try_acquire().unwrap();
        let free = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            drop(held);
        };
        let (result, ()) = tokio::join!(call(&mut service, request(Method::POST, "")), free);
        assert_eq!((status(&result), seen.calls().len()), (Some(200), 1));
    });
}

#[test]
fn a_body_that_is_too_large_to_be_remembered_is_sent_once() {
    for (body, calls) in [("12345678", 2), ("123456789", 1)] {
        paused(async {
            let (inner, seen) = server(vec![act(0, How::Status(503))]);
            let mut service = RetryLayer::new(1).backoff(NO_WAIT).replayed(8).layer(inner);
            let result = call(&mut service, request(Method::PUT, body)).await;
            assert_eq!((status(&result), seen.calls().len()), (Some(503), calls), "{body}");
            assert!(seen.calls().iter().all(|(_, seen)| seen == body));
        });
    }
}

#[test]
fn what_a_server_asks_for_is_kept_to_or_nobody_asks_again() {
    for (deadline, asks, calls) in
        [(None, 1, 2), (None, 2, 1), (Some(1_500), 1, 2), (Some(1_000), 1, 1), (Some(60_000), 2, 1)]
    {
        paused(async {
            let (inner, seen) = server(vec![act(0, How::Later(asks)), act(0, How::Status(200))]);
            let layer = RetryLayer::new(1).clock(clock());
            let mut service = layer.layer(inner);
            let mut get = request(Method::GET, "");
            if let Some(deadline) = deadline {
                let limit = Duration::from_millis(deadline);
                let deadline = Deadline::starting(clock().now()).at_most(limit);
                get.extensions_mut().insert(deadline);
            }
            drop(call(&mut service, get).await);
            let times = seen.times();
            assert_eq!(times.len(), calls, "{deadline:?} {asks}");
            let waited = times.last().unwrap() - times[0];
            let want = if calls == 2 { u128::from(asks) * 1_000 } else { 0 };
            assert!(waited.abs_diff(want) <= 1, "{waited} {want}");
        });
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let how = prop_oneof![Just(How::Status(200)), Just(How::Status(503)), Just(How::Error)];
    proptest::collection::vec(how.prop_map(|how| act(1, how)), 1..6)
}

proptest! {
    /// Against what a list says: so many tries, and the answer of the last of them.
    #[test]
    fn as_many_tries_as_are_allowed_and_needed(
        acts in acts(),
        retries in 0_u32..5,
        budget in 0_u32..5,
        is_get in any::<bool>(),
    ) {
        let (want, got) = paused(async {
            let is_last = |how: &How| *how == How::Status(200);
            let most = if is_get { retries.min(budget) as usize } else { 0 };
            let hows: Vec<_> = acts.iter().map(|act| act.how).collect();
            let of = |number: usize| *hows.get(number).or(hows.last()).unwrap();
            let last = (0..most).find(|number| is_last(&of(*number))).unwrap_or(most);
            let want = match of(last) {
                How::Status(status) => Some(status),
                _ => None,
            };
            let (inner, seen) = server(acts.clone());
            // Ten seconds' worth at once: none of them is over while this runs.
            let spent = RetryBudget::with_clock(0.0, 1, clock());
            for _ in budget..10 {
                prop_assert!(spent.try_retry());
            }
            let layer = RetryLayer::new(retries).backoff(NO_WAIT).budget(spent);
            let method = if is_get { Method::GET } else { Method::POST };
            let result = call(&mut layer.layer(inner), request(method, "")).await;
            Ok(((last + 1, want), (seen.calls().len(), status(&result))))
        })?;
        prop_assert_eq!(want, got);
    }
}
