//! Bursts, refill, and how long to wait.
use std::time::Duration;

use portcullis_core::stage::PreLimit;
use portcullis_ratelimit::{Quota, RateLimit, RateLimitLayer, per_hour, per_minute, per_second};
use portcullis_testkit::{FakeTime, TestClient};

use crate::support::{Endpoint, client_of, peer};

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

/// What one request after `wait` is answered: nothing, or how many seconds to wait.
async fn after(
    client: &TestClient<RateLimit<Endpoint>>,
    time: &FakeTime,
    wait: Duration,
) -> Option<u64> {
    time.advance(wait);
    let answer = client.get("/").peer(peer("192.0.2.1")).send().await;
    if answer.status() == 200 {
        return None;
    }
    answer.assert_status(429).assert_problem("rate-limited");
    Some(answer.header("retry-after").unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_burst_then_one_each_interval_and_whole_seconds_to_wait() {
    const NANO: Duration = Duration::from_nanos(1);
    let (now, second) = (Duration::ZERO, Duration::from_secs(1));
    let half = second / 2;
    type Steps<'a> = &'a [(Duration, Option<u64>)];
    let rows: [(&str, Quota, Steps<'_>); 9] = [
        (
            "as many at once as in a period",
            per_second(3),
            &[
                (now, None),
                (now, None),
                (now, None),
                (now, Some(1)),
                (second, None),
                (now, None),
                (now, None),
                (now, Some(1)),
            ],
        ),
        (
            "a burst of its own, refilled one by one",
            per_second(2).burst(3),
            &[
                (now, None),
                (now, None),
                (now, None),
                (now, Some(1)),
                (half - NANO, Some(1)),
                (NANO, None),
                (now, Some(1)),
            ],
        ),
        (
            "less than a second is one second",
            per_second(10).burst(1),
            &[(now, None), (now, Some(1)), (second / 10 - NANO, Some(1)), (NANO, None)],
        ),
        (
            "one and a half are two seconds",
            per_minute(40).burst(1),
            &[(now, None), (now, Some(2)), (half, Some(1)), (second - NANO, Some(1)), (NANO, None)],
        ),
        (
            "exactly one is one second",
            per_minute(60).burst(1),
            &[(now, None), (now, Some(1)), (second, None)],
        ),
        (
            "an hour, and a bit less",
            per_hour(1),
            &[
                (now, None),
                (now, Some(3600)),
                (NANO, Some(3600)),
                (second, Some(3599)),
                (second * 3599, None),
            ],
        ),
        (
            "what is not used does not add up beyond the burst",
            per_second(2),
            &[
                (second * 1000, None),
                (now, None),
                (now, Some(1)),
                (second * 1000, None),
                (now, None),
                (now, Some(1)),
            ],
        ),
        (
            "nought requests are taken for one",
            per_second(0),
            &[(now, None), (now, Some(1)), (second - NANO, Some(1)), (NANO, None), (now, Some(1))],
        ),
        (
            "a burst of nought is taken for one",
            per_minute(60).burst(0),
            &[(now, None), (now, Some(1)), (second, None), (now, Some(1))],
        ),
    ];
    for (what, quota, steps) in rows {
        let time = FakeTime::new();
        let layer = everywhere(quota);
        let client = client_of(&layer, &time);
        for (step, (wait, want)) in steps.iter().enumerate() {
            let got = after(&client, &time, *wait).await;
            assert_eq!(got, *want, "{what}, step {step}");
        }
    }
}

#[tokio::test]
async fn whoever_waits_as_told_is_let_in() {
    for quota in
        [per_second(3).burst(1), per_minute(7), per_minute(40).burst(2), per_hour(11).burst(1)]
    {
        let time = FakeTime::new();
        let layer = everywhere(quota);
        let client = client_of(&layer, &time);
        let (mut wait, mut refused) = (Duration::ZERO, 0);
        for _ in 0..50 {
            wait = match after(&client, &time, wait).await {
                None => Duration::ZERO,
                Some(seconds) => {
                    assert_eq!(wait, Duration::ZERO, "{quota:?}: refused after waiting as told");
                    refused += 1;
                    Duration::from_secs(seconds)
                }
            };
        }
        assert!(refused > 5, "{quota:?}");
    }
}

#[tokio::test]
async fn the_calendar_may_jump() {
    let time = FakeTime::new();
    let layer = everywhere(per_second(1));
    let client = client_of(&layer, &time);
    assert_eq!(after(&client, &time, Duration::ZERO).await, None);
    time.jump_wall(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    assert_eq!(after(&client, &time, Duration::ZERO).await, Some(1));
}

#[tokio::test]
async fn a_refused_request_costs_nothing() {
    let time = FakeTime::new();
    let layer = everywhere(per_second(1));
    let client = client_of(&layer, &time);
    assert_eq!(after(&client, &time, Duration::ZERO).await, None);
    for _ in 0..9 {
        let wait = Duration::from_millis(100);
        assert_eq!(after(&client, &time, wait).await, Some(1));
    }
    assert_eq!(after(&client, &time, Duration::from_millis(100)).await, None);
}
