//! The second call where the first takes long.
use std::time::Duration;

use http::{Method, Request};
use portcullis_core::Body;
use portcullis_resilience::{HedgeLayer, RetryBudget};
use proptest::prelude::*;
use tower::Layer;

use crate::support::{Act, How, act, call, clock, paused, server, status};

/// What a hedge does, said as plainly as it can be: when it ends, with which call's answer, and how many calls there were.
fn model(first: Act, second: Act, after: Duration, may: bool) -> (Duration, usize, usize) {
    let is_good = |act: Act| act.how == How::Status(200);
    if first.after <= after || !may {
        return (first.after, 0, 1);
    }
    let ends = [first.after, after + second.after];
    let good = [is_good(first), is_good(second)];
    let earlier = usize::from(ends[1] < ends[0]);
    let later = 1 - earlier;
    let winner = if good[earlier] { earlier } else { later };
    (ends[winner], winner, 2)
}

fn any_act() -> impl Strategy<Value = Act> {
    // Tens: the second call begins and ends between them.
    let how = prop_oneof![Just(How::Status(200)), Just(How::Status(503)), Just(How::Error)];
    (0_u64..60, how).prop_map(|(after, how)| act(after * 10, how))
}

proptest! {
    #[test]
    fn it_does_what_the_model_says(
        first in any_act(),
        second in any_act(),
        after in 0_u64..40,
        is_safe in any::<bool>(),
        in_budget in any::<bool>(),
    ) {
        // Never at the same moment as an end.
        let after = Duration::from_millis(after * 10 + 5);
        let second = Act { after: second.after + Duration::from_millis(2), ..second };
        let (end, winner, calls) = model(first, second, after, is_safe && in_budget);
        paused(async {
            let (inner, seen) = server(vec![first, second]);
            let budget = RetryBudget::with_clock(if in_budget { 1.0 } else { 0.0 }, 0, clock());
            let mut service = HedgeLayer::new(after).budget(budget).layer(inner);
            let method = if is_safe { Method::GET } else { Method::PUT };
            let request = Request::builder().method(method).body(Body::empty()).unwrap();
            let began = tokio::time::Instant::now();
            let result = call(&mut service, request).await;
            let took = began.elapsed();
            // Tokio's timers end up to a millisecond late, one behind the other.
            prop_assert!(took >= end && took <= end + Duration::from_millis(3), "{took:?} {end:?}");
            prop_assert_eq!(seen.calls().len(), calls);
            let how = [first, second][winner].how;
            match how {
                How::Status(want) => {
                    prop_assert_eq!(status(&result), Some(want));
                    let number = result.unwrap().headers()["x-number"].to_str().unwrap().to_owned();
                    prop_assert_eq!(number, winner.to_string());
                }
                _ => prop_assert!(result.is_err()),
            }
            prop_assert_eq!(seen.under_way(), 0);
            Ok(())
        })?;
    }
}

#[test]
fn who_goes_away_takes_both_calls_along() {
    paused(async {
        let (inner, seen) = server(vec![act(60_000, How::Status(200))]);
        let mut service = HedgeLayer::new(Duration::from_millis(10)).layer(inner);
        let call = call(&mut service, Request::new(Body::empty()));
        assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
        assert_eq!((seen.calls().len(), seen.under_way()), (2, 0));
    });
}
