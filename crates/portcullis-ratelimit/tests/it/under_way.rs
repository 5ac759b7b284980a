//! How many requests are under way at once, and which are let through: plans, exemptions, quotas on trial, and waits.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Cx, Waker};
use std::time::Duration;

use http::{Request, Response};
use portcullis_core::stage::PreLimit;
use portcullis_core::{Body, Context, MetricSource};
use portcullis_ratelimit::{
    Key, Quota, RateLimitLayer, at_once, per_hour, per_minute, per_second, unlimited,
};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, TestClient, as_user, get};
use tower::{Layer, Service, service_fn};

use crate::support::{Endpoint, answer, asking, client_of, peer};

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

#[test]
fn a_place_is_held_until_the_body_is_over_and_free_at_once_where_it_ends_early() {
    let time = FakeTime::new();
    let layer = everywhere(at_once(2));
    let mut service =
        layer.layer(service_fn(async |request: Request<Body>| match request.uri().path() {
            "/panic" => panic!("as told"),
            "/hang" => std::future::pending().await,
            "/empty" => Ok::<_, Infallible>(Response::new(Body::empty())),
            _ => Ok(Response::new(Body::from("an answer"))),
        }));
    let mut cx = Cx::from_waker(Waker::noop());
    let to = |path: &str| get(path).peer(peer("192.0.2.1")).clock(time.clock()).build();
    let first = answer(&mut service, to("/"));
    let second = answer(&mut service, to("/"));
    let refused = answer(&mut service, to("/"));
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
    // Others have places of their own.
    assert_eq!(answer(&mut service, asking("192.0.2.2", &time)).status(), 200);

    // The body is read.
    let mut read = Box::pin(http_body_util::BodyExt::collect(first.into_body()));
    assert!(read.as_mut().poll(&mut cx).is_ready());
    let third = answer(&mut service, to("/"));
    assert_eq!(third.status(), 200);
    assert_eq!(answer(&mut service, to("/")).status(), 429);
    // The body is dropped.
    drop(second);
    // There is none: the place is free when the answer is there.
    for _ in 0..5 {
        assert_eq!(answer(&mut service, to("/empty")).status(), 200);
    }
    // The client goes before there is an answer.
    let mut call = Box::pin(service.call(to("/hang")));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(answer(&mut service, to("/")).status(), 429);
    drop(call);
    // The endpoint panics.
    for _ in 0..5 {
        let call = std::panic::AssertUnwindSafe(|| answer(&mut service, to("/panic")));
        assert!(std::panic::catch_unwind(call).is_err());
    }
    assert_eq!(answer(&mut service, to("/")).status(), 200);
}

#[test]
fn what_a_rate_refuses_holds_no_place() {
    let time = FakeTime::new();
    let mut service = everywhere(at_once(1).and(per_hour(1))).layer(Endpoint::default());
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    for _ in 0..3 {
        let refused = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(refused.headers().get("retry-after").unwrap(), "3600");
    }
    time.advance(Duration::from_secs(3_600));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[tokio::test]
async fn a_plan_has_its_own_bounds_and_its_own_counts() {
    let time = FakeTime::new();
    let quota = per_hour(2).by(Key::Identity).plan("pro", per_hour(4)).plan("free", unlimited());
    let layers = tower::ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(quota));
    let client = TestClient::new(layers.service(Endpoint::default())).clock(time.clock());
    for (step, (who, status)) in [
        (as_user("alice"), 200),
        (as_user("alice"), 200),
        (as_user("alice"), 429),
        (as_user("alice").plan("pro"), 200),
        (as_user("alice").plan("free"), 200),
        (as_user("bob").plan("pro"), 200),
        (as_user("bob").plan("pro"), 200),
        (as_user("bob").plan("pro"), 200),
        (as_user("bob").plan("pro"), 200),
        (as_user("bob").plan("pro"), 429),
        (as_user("bob"), 200),
        (as_user("bob").plan("unknown"), 200),
        (as_user("bob").plan("unknown"), 429),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client.get("/").peer(peer("192.0.2.1")).as_user(who).send().await;
        assert_eq!(answer.status(), status, "step {step}");
    }
}

#[test]
fn bounds_that_are_looked_up_change_while_it_runs() {
    let time = FakeTime::new();
    let limit = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&limit);
    let quota = per_hour(2).looked_up(move |_| match told.load(Ordering::Relaxed) {
        0 => None,
        units => Some(per_hour(units)),
    });
    let mut service = everywhere(quota).layer(Endpoint::default());
    for (units, status, policy) in
        [(0, 200, "q=2;"), (0, 200, "q=2;"), (0, 429, "q=2;"), (4, 429, "q=4;"), (1, 429, "q=1;")]
    {
        limit.store(units, Ordering::Relaxed);
        let said = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(said.status(), status, "{units}");
        let field = said.headers().get("ratelimit-policy").unwrap().to_str().unwrap();
        assert!(field.contains(policy), "{field}");
    }
    limit.store(4, Ordering::Relaxed);
    time.advance(Duration::from_secs(900));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[test]
fn a_quota_on_trial_refuses_nobody_and_counts_whom_it_would() {
    let time = FakeTime::new();
    let layer = everywhere(per_hour(2).shadow()).everywhere(per_hour(5));
    let stats = layer.stats();
    let mut service = layer.layer(Endpoint::default());
    for status in [200, 200, 200, 200, 200, 429] {
        let said = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(said.status(), status);
        let field = said.headers().get("ratelimit").unwrap().to_str().unwrap();
        assert!(field.starts_with("\"everywhere-2\"") && !field.contains(','), "{field}");
    }
    let mut text = String::new();
    stats.write(&mut text);
    for line in [
        "portcullis_limit_would_refuse_total{quota=\"everywhere\"} 4",
        "portcullis_limit_refused_total{quota=\"everywhere\"} 0",
        "portcullis_limit_refused_total{quota=\"everywhere-2\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn who_is_exempt_is_not_counted() {
    let time = FakeTime::new();
    let quota = per_hour(1)
        .exempt(|asked| asked.uri.path() == "/health")
        .exempt(|asked| asked.headers.contains_key("x-probe"));
    let mut service = everywhere(quota).layer(Endpoint::default());
    let to = |path: &str| get(path).peer(peer("192.0.2.1")).clock(time.clock());
    for _ in 0..3 {
        let said = answer(&mut service, to("/health").build());
        assert_eq!((said.status().as_u16(), said.headers().get("ratelimit")), (200, None));
        assert_eq!(answer(&mut service, to("/").header("x-probe", "1").build()).status(), 200);
    }
    assert_eq!(answer(&mut service, to("/").build()).status(), 200);
    assert_eq!(answer(&mut service, to("/").build()).status(), 429);
    assert_eq!(answer(&mut service, to("/health").build()).status(), 200);
}

#[test]
fn the_endpoint_sees_what_is_left() {
    let time = FakeTime::new();
    let layer = everywhere(per_minute(3).and(per_hour(2)));
    let mut service = layer.layer(service_fn(async |mut request: Request<Body>| {
        let context = Context::of(&mut request);
        let seen: Vec<_> = context
            .quotas()
            .map(|of| format!("{} {}/{} {:?}", of.name, of.remaining, of.limit, of.reset))
            .collect();
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("x-seen", seen.join(", ").parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let first = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!(first.headers().get("x-seen").unwrap(), "everywhere.2 1/2 1800s");
    let second = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!(second.headers().get("x-seen").unwrap(), "everywhere.2 0/2 1800s");
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_early_waits_in_order_and_no_more_than_the_rate_gets_through() {
    let time = FakeTime::new();
    // It waits far longer than a burst lasts: each has a place of its own behind the others.
    let quota = per_second(1).waiting(Duration::from_secs(10));
    let client = client_of(&everywhere(quota), &time);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let client = client.clone();
        let ask = async move { client.get("/").peer(peer("192.0.2.1")).send().await.status() };
        tasks.push(tokio::spawn(ask));
        tokio::task::yield_now().await;
    }
    for second in 0..=10 {
        let done = tasks.iter().take(11).filter(|task| task.is_finished()).count();
        assert_eq!(done, second + 1, "after {second} s");
        assert!(tasks[second].is_finished(), "they go in order");
        time.advance_with_tokio(Duration::from_secs(1)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap().as_u16());
    }
    assert_eq!(statuses, [[200; 11].as_slice(), &[429; 9]].concat());
}

#[tokio::test(start_paused = true)]
async fn who_goes_while_waiting_gives_the_place_back() {
    let time = FakeTime::new();
    let quota = per_second(1).waiting(Duration::from_secs(3));
    let mut service = everywhere(quota).layer(Endpoint::default());
    let mut cx = Cx::from_waker(Waker::noop());
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    for _ in 0..10 {
        let mut waiting = Box::pin(service.call(asking("192.0.2.1", &time)));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(waiting);
        // One that was never polled as well.
        drop(service.call(asking("192.0.2.1", &time)));
    }
    time.advance_with_tokio(Duration::from_secs(1)).await;
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_shorter_than_the_wait_is_refused_at_once() {
    let time = FakeTime::new();
    let quota = per_second(1).waiting(Duration::from_secs(3));
    let mut service = everywhere(quota).layer(Endpoint::default());
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    for _ in 0..5 {
        let mut request = asking("192.0.2.1", &time);
        let context = Context::of(&mut request);
        context.limit_time(Duration::from_millis(900));
        let refused = answer(&mut service, request);
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
        // It is told once about each quota.
        let field = refused.headers().get("ratelimit").unwrap().to_str().unwrap();
        assert_eq!(field.matches(";r=").count(), 1, "{field}");
    }
    // They have taken nothing.
    time.advance_with_tokio(Duration::from_secs(1)).await;
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}
