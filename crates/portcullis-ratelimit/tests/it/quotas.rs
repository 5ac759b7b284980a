//! Which requests count against which quota.
use std::time::Duration;

use portcullis_core::{EdgeLayer, Routes, Stack};
use portcullis_ratelimit::{Key, LimitExt, RateLimitLayer, per_hour, per_minute, per_second};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, TestClient};
use tower::ServiceBuilder;

use crate::support::{Endpoint, client_of, peer};

#[tokio::test]
async fn a_named_quota_counts_only_the_routes_that_name_it() {
    let endpoint = Endpoint::default();
    let routes = Routes::builder()
        .get("/search", endpoint.clone())
        .public()
        .limit("search")
        .get("/suggest", endpoint.clone())
        .public()
        .limit("search")
        .get("/reports/{id}", endpoint.clone())
        .public()
        .limit("reports")
        .get("/both", endpoint.clone())
        .public()
        .limit("search")
        .limit("reports")
        .get("/free", endpoint.clone())
        .public()
        .build()
        .unwrap();
    let limits = RateLimitLayer::before_authentication()
        .quota("search", per_hour(3))
        .quota("reports", per_hour(1));
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer()).layer(limits);
    let time = FakeTime::new();
    let client = TestClient::new(stack.around(routes).unwrap()).clock(time.clock());
    let mut served = 0;
    for (path, status) in [
        ("/search", 200),
        // Two routes that name one quota share it.
        ("/suggest", 200),
        // Every path of a template counts together.
        ("/reports/1", 200),
        ("/reports/2", 429),
        ("/search", 200),
        ("/suggest", 429),
        ("/search?q=other", 429),
        ("/both", 429),
        ("/free", 200),
        ("/free", 200),
        ("/nothing", 404),
    ] {
        let answer = client.get(path).peer(peer("192.0.2.1")).send().await;
        assert_eq!(answer.status(), status, "{path}");
        served += usize::from(status == 200);
        assert_eq!(endpoint.calls(), served, "{path}: what is refused does not reach the endpoint");
    }
    // Another client has a quota of their own.
    client.get("/both").peer(peer("192.0.2.2")).send().await.assert_status(200);
}

#[tokio::test]
async fn a_route_that_names_a_quota_twice_counts_once() {
    let routes = Routes::builder()
        .get("/", Endpoint::default())
        .public()
        .limit("twice")
        .limit("twice")
        .build()
        .unwrap();
    let limits = RateLimitLayer::before_authentication().quota("twice", per_hour(2));
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer()).layer(limits);
    let time = FakeTime::new();
    let client = TestClient::new(stack.around(routes).unwrap()).clock(time.clock());
    for status in [200, 200, 429] {
        client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(status);
    }
}

#[tokio::test]
async fn without_a_route_no_named_quota_counts() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication().quota("search", per_hour(1));
    let client = client_of(&layer, &time);
    for _ in 0..3 {
        client.get("/search").peer(peer("192.0.2.1")).send().await.assert_status(200);
    }
}

#[tokio::test]
async fn of_several_quotas_each_must_have_room() {
    let time = FakeTime::new();
    let layer =
        RateLimitLayer::before_authentication().everywhere(per_second(2)).everywhere(per_minute(3));
    let client = client_of(&layer, &time);
    let second = Duration::from_secs(1);
    for (step, (wait, want)) in [
        (Duration::ZERO, None),
        (Duration::ZERO, None),
        // The second's quota is used up, the minute's is not.
        (Duration::ZERO, Some("1")),
        (second, None),
        // Now it is the minute's: one in twenty seconds.
        (second, Some("18")),
        (second * 18, None),
    ]
    .into_iter()
    .enumerate()
    {
        time.advance(wait);
        let answer = client.get("/").peer(peer("192.0.2.1")).send().await;
        assert_eq!(answer.header("retry-after"), want, "step {step}");
        assert_eq!(answer.status(), if want.is_some() { 429 } else { 200 }, "step {step}");
    }
}

#[tokio::test]
async fn a_quota_by_address_and_one_by_identity_count_apart() {
    let time = FakeTime::new();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(
            RateLimitLayer::in_memory()
                .everywhere(per_hour(3).by(Key::Address))
                .everywhere(per_hour(2).by(Key::Identity)),
        )
        .into_inner();
    let client = client_of(&layers, &time);
    for (step, (from, who, status)) in [
        ("192.0.2.1", "alice", 200),
        ("192.0.2.1", "alice", 200),
        ("192.0.2.2", "alice", 429),
        ("192.0.2.1", "bob", 200),
        ("192.0.2.1", "carl", 429),
        ("192.0.2.3", "carl", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client.get("/").peer(peer(from)).as_user(who).send().await;
        assert_eq!(answer.status(), status, "step {step}");
    }
}

#[tokio::test]
async fn a_request_that_one_quota_refuses_costs_nothing_in_the_others() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication()
        .everywhere(per_hour(2))
        .everywhere(per_minute(60).burst(1));
    let client = client_of(&layer, &time);
    // The second is refused, so that it is not counted: the third is the second of the hour.
    for (wait, status) in [(0, 200), (0, 429), (1, 200), (1, 429)] {
        time.advance(Duration::from_secs(wait));
        client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(status);
    }
}

#[tokio::test]
async fn of_several_quotas_without_room_the_longest_wait_is_told() {
    let time = FakeTime::new();
    let layer =
        RateLimitLayer::before_authentication().everywhere(per_second(1)).everywhere(per_minute(1));
    let client = client_of(&layer, &time);
    client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(200);
    let answer = client.get("/").peer(peer("192.0.2.1")).send().await;
    assert_eq!(answer.header("retry-after"), Some("60"));
}
