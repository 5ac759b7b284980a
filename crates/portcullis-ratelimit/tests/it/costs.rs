//! What requests cost, and when that is known.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Cx, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use portcullis_core::stage::PreLimit;
use portcullis_core::{Body, Context};
use portcullis_ratelimit::{Quota, RateLimitLayer, per_hour, per_minute};
use portcullis_testkit::{FakeTime, get};
use tower::{Layer, Service, service_fn};

use crate::structured::list;
use crate::support::{answer, asking, peer};

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

/// What is left, as an answer to another request says, which costs one.
fn left(response: &Response<Body>) -> u64 {
    let field = response.headers().get("ratelimit").unwrap().to_str().unwrap();
    list(field).unwrap()[0].number("r").unwrap()
}

/// How an endpoint ends.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its answer is read to its end.
    Read,
    /// Its answer is dropped before that.
    Dropped,
    /// The client goes away before there is an answer.
    Left,
    Panics,
}

/// What is left of a thousand units, of which a request takes a hundred first and then says what it was.
fn left_after(spends: Option<u64>, way: Way) -> u64 {
    let time = FakeTime::new();
    let layer = everywhere(per_hour(1_000).settled(100));
    let endpoint = service_fn(move |mut request: Request<Body>| async move {
        if request.uri().path() == "/look" {
            return Ok::<_, Infallible>(Response::new(Body::empty()));
        }
        if let Some(units) = spends {
            Context::of(&mut request).spend(units);
        }
        match way {
            Way::Panics => panic!("as told"),
            Way::Left => std::future::pending().await,
            Way::Read | Way::Dropped => Ok(Response::new(Body::from("an answer"))),
        }
    });
    let mut service = layer.layer(endpoint);
    let mut cx = Cx::from_waker(Waker::noop());
    match way {
        Way::Read => {
            let body = answer(&mut service, asking("192.0.2.1", &time)).into_body();
            let read = http_body_util::BodyExt::collect(body);
            assert!(std::pin::pin!(read).poll(&mut cx).is_ready());
        }
        Way::Dropped => drop(answer(&mut service, asking("192.0.2.1", &time))),
        Way::Left => {
            let mut call = Box::pin(service.call(asking("192.0.2.1", &time)));
            assert!(call.as_mut().poll(&mut cx).is_pending());
        }
        Way::Panics => {
            let call =
                std::panic::AssertUnwindSafe(|| answer(&mut service, asking("192.0.2.1", &time)));
            assert!(std::panic::catch_unwind(call).is_err());
        }
    }
    let look = get("/look").peer(peer("192.0.2.1")).clock(time.clock()).build();
    left(&answer(&mut service, look)) + 100
}

#[test]
fn what_was_taken_first_is_settled_when_the_answer_is_over() {
    for (what, spends, way, want) in [
        ("less", Some(30), Way::Read, 970),
        ("as much", Some(100), Way::Read, 900),
        ("more", Some(250), Way::Read, 750),
        ("nothing", Some(0), Way::Read, 1_000),
        ("nothing said", None, Way::Read, 900),
        ("less, and dropped half way", Some(30), Way::Dropped, 970),
        ("more, and dropped half way", Some(250), Way::Dropped, 750),
        ("dropped half way with nothing said", None, Way::Dropped, 900),
        ("the client goes with nothing said", None, Way::Left, 900),
        ("the client goes when it was said", Some(30), Way::Left, 970),
        ("a panic in between", None, Way::Panics, 900),
    ] {
        assert_eq!(left_after(spends, way), want, "{what}");
    }
}

#[test]
fn more_than_there_was_room_for_is_owed() {
    let time = FakeTime::new();
    let layer = everywhere(per_minute(60).burst(10).settled(1));
    let mut service = layer.layer(service_fn(async |mut request: Request<Body>| {
        Context::of(&mut request).spend(15);
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    let refused = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!(refused.headers().get("retry-after").unwrap(), "6");
    time.advance(Duration::from_secs(5));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 429);
    time.advance(Duration::from_secs(1));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[test]
fn a_header_of_the_answer_settles() {
    let header = HeaderName::from_static("x-tokens");
    for (what, value, want) in [
        ("less", Some("20"), 980),
        ("more", Some("300"), 700),
        ("with spaces", Some(" 20 "), 980),
        ("no number", Some("many"), 900),
        ("a negative one", Some("-5"), 900),
        ("none", None, 900),
    ] {
        let time = FakeTime::new();
        let layer = everywhere(per_hour(1_000).settled_by(header.clone(), 100));
        let mut service = layer.layer(service_fn(move |_: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            if let Some(value) = value {
                response.headers_mut().insert("x-tokens", value.parse().unwrap());
            }
            Ok::<_, Infallible>(response)
        }));
        let first = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(
            first.headers().get("x-tokens").is_some(),
            value.is_some(),
            "it goes on to the client"
        );
        assert_eq!(left(&answer(&mut service, asking("192.0.2.1", &time))) + 100, want, "{what}");
    }
}

#[tokio::test]
async fn bytes_of_answers_count_and_what_is_too_much_is_owed_and_not_waited_for() {
    let time = FakeTime::new();
    let layer = everywhere(per_minute(600).burst(1_000).bytes());
    let mut service = layer.layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from(Bytes::from(vec![b'x'; 300]))))
    }));
    let mut ask = || {
        // What somebody says about their body costs nobody anything.
        let request = get("/").peer(peer("192.0.2.1")).clock(time.clock());
        let request = request.header("content-length", u64::MAX.to_string()).build();
        let response = answer(&mut service, request);
        let (status, left) = (response.status(), left(&response));
        let read = http_body_util::BodyExt::collect(response.into_body());
        assert!(std::pin::pin!(read).poll(&mut Cx::from_waker(Waker::noop())).is_ready());
        (status.as_u16(), left)
    };
    assert_eq!(ask(), (200, 1_000));
    assert_eq!(ask(), (200, 700));
    assert_eq!(ask(), (200, 400));
    // There is room for a byte; the rest is owed: nobody waits for that.
    assert_eq!(ask(), (200, 100));
    assert_eq!(ask().0, 429);
}

#[test]
fn only_answers_that_refuse_count_where_guessing_is_limited() {
    let time = FakeTime::new();
    let status = Arc::new(AtomicU64::new(200));
    let told = Arc::clone(&status);
    let layer = everywhere(per_hour(3).refusals());
    let mut service = layer.layer(service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::empty());
        let status = u16::try_from(told.load(Ordering::Relaxed)).unwrap();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    for (inner, want) in [
        (200, 200),
        (200, 200),
        (404, 404),
        (500, 500),
        (400, 400),
        (401, 401),
        (200, 200),
        (403, 403),
        (429, 429),
        (200, 200),
        (401, 401),
        (200, 429),
        (404, 429),
    ] {
        status.store(inner, Ordering::Relaxed);
        assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), want, "{inner}");
    }
    assert_eq!(answer(&mut service, asking("192.0.2.2", &time)).status(), 404);
}

#[test]
fn a_cost_is_what_a_function_says_and_nothing_costs_nothing() {
    let time = FakeTime::new();
    let cost = |length: &str| length.parse().unwrap_or(1);
    let quota = per_hour(10).cost_of(move |asked| asked.uri.query().map_or(1, cost));
    let mut service = everywhere(quota).layer(crate::support::Endpoint::default());
    for (target, status) in [
        ("/?4", 200),
        ("/?7", 429),
        ("/?6", 200),
        ("/", 429),
        ("/?0", 200),
        ("/?0", 200),
        ("/?11", 429),
    ] {
        let request = get(target).peer(peer("192.0.2.1")).clock(time.clock()).build();
        assert_eq!(answer(&mut service, request).status(), status, "{target}");
    }
}
