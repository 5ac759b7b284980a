//! Bursts, refill, and how long to wait.
use std::time::{Duration, SystemTime};

use portcullis_core::stage::PreLimit;
use portcullis_ratelimit::{Quota, RateLimit, RateLimitLayer, per_hour, per_minute, per_second};
use portcullis_testkit::{FakeTime, TestClient};

use crate::support::{Endpoint, client_of, peer};

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

const SECOND: u64 = 1_000_000_000;
/// The answer of a request that is not refused.
const OK: u64 = 0;

/// What one request is answered when so many nanoseconds have passed: `OK`, or how many seconds to wait.
async fn after(client: &TestClient<RateLimit<Endpoint>>, time: &FakeTime, nanos: u64) -> u64 {
    time.advance(Duration::from_nanos(nanos));
    let answer = client.get("/").peer(peer("192.0.2.1")).send().await;
    if answer.status() == 200 {
        return OK;
    }
    answer.assert_status(429).assert_problem("quota-exceeded");
    answer.header("retry-after").unwrap().parse().unwrap()
}

/// What it shows, the quota, and what a request is answered after how many nanoseconds.
type Row<'a> = (&'a str, Quota, &'a [(u64, u64)]);

#[tokio::test]
async fn a_burst_then_one_each_interval_and_whole_seconds_to_wait() {
    let tenth = SECOND / 10;
    let rows: [Row<'_>; 9] = [
        (
            "as many at once as in a period",
            per_second(3),
            &[(0, OK), (0, OK), (0, OK), (0, 1), (SECOND, OK), (0, OK), (0, OK), (0, 1)],
        ),
        (
            "a burst of its own, refilled one by one",
            per_second(2).burst(3),
            &[(0, OK), (0, OK), (0, OK), (0, 1), (SECOND / 2 - 1, 1), (1, OK), (0, 1)],
        ),
        (
            "less than a second is one second",
            per_second(10).burst(1),
            &[(0, OK), (0, 1), (tenth - 1, 1), (1, OK), (0, 1)],
        ),
        (
            "one and a half are two seconds",
            per_minute(40).burst(1),
            &[(0, OK), (0, 2), (SECOND / 2, 1), (SECOND - 1, 1), (1, OK)],
        ),
        ("exactly one is one second", per_minute(60).burst(1), &[(0, OK), (0, 1), (SECOND, OK)]),
        (
            "an hour, and a bit less",
            per_hour(1),
            &[(0, OK), (0, 3600), (1, 3600), (SECOND, 3599), (3599 * SECOND, OK)],
        ),
        (
            "what is not used does not add up beyond the burst",
            per_second(2),
            &[(999 * SECOND, OK), (0, OK), (0, 1), (999 * SECOND, OK), (0, OK), (0, 1)],
        ),
        (
            "nought requests are taken for one",
            per_second(0),
            &[(0, OK), (0, 1), (SECOND - 1, 1), (1, OK), (0, 1)],
        ),
        (
            "a burst of nought is taken for one",
            per_minute(60).burst(0),
            &[(0, OK), (0, 1), (SECOND, OK), (0, 1)],
        ),
    ];
    for (what, quota, steps) in rows {
        let time = FakeTime::new();
        let client = client_of(&everywhere(quota.clone()), &time);
        for (step, (wait, want)) in steps.iter().enumerate() {
            assert_eq!(after(&client, &time, *wait).await, *want, "{what}, step {step}");
        }
    }
}

#[tokio::test]
async fn whoever_waits_as_told_is_let_in() {
    for quota in
        [per_second(3).burst(1), per_minute(7), per_minute(40).burst(2), per_hour(11).burst(1)]
    {
        let time = FakeTime::new();
        let client = client_of(&everywhere(quota.clone()), &time);
        let (mut wait, mut refused) = (0, 0);
        for _ in 0..50 {
            let told = after(&client, &time, wait * SECOND).await;
            assert!(told == OK || wait == 0, "{quota:?}: refused after waiting as told");
            refused += usize::from(told != OK);
            wait = told;
        }
        assert!(refused > 5, "{quota:?}");
    }
}

#[tokio::test]
async fn the_calendar_may_jump() {
    let time = FakeTime::new();
    let client = client_of(&everywhere(per_second(1)), &time);
    assert_eq!(after(&client, &time, 0).await, OK);
    time.jump_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    assert_eq!(after(&client, &time, 0).await, 1);
}

#[tokio::test]
async fn a_refused_request_costs_nothing() {
    let time = FakeTime::new();
    let client = client_of(&everywhere(per_second(1)), &time);
    assert_eq!(after(&client, &time, 0).await, OK);
    for _ in 0..9 {
        assert_eq!(after(&client, &time, SECOND / 10).await, 1);
    }
    assert_eq!(after(&client, &time, SECOND / 10).await, OK);
}
