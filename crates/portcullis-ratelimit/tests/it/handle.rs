//! A quota that an endpoint counts against itself.
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use portcullis_core::{Body, Context, Problem};
use portcullis_ratelimit::{Asked, Pass, Quota, Throttle, at_once, per_minute};
use portcullis_testkit::FakeTime;

fn throttle(quota: Quota) -> Throttle {
    Throttle::new("log-in", quota).unwrap()
}

fn context(time: &FakeTime) -> Context {
    Context::with_clock(&mut Request::new(()), &time.clock())
}

fn header<'a>(problem: &'a Response<Body>, name: &str) -> Option<&'a str> {
    problem.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok())
}

async fn take(
    throttle: &Throttle,
    time: &FakeTime,
    who: &str,
    units: u64,
) -> Result<Pass, Problem> {
    throttle.take(&context(time), who, units).await
}

#[tokio::test]
async fn each_name_has_its_own_and_time_gives_it_back() {
    let (time, tries) = (FakeTime::new(), throttle(per_minute(2)));
    for (who, seconds, passes) in [
        ("ada", 0, true),
        ("ada", 0, true),
        ("ada", 0, false),
        ("eve", 0, true),
        ("ada", 29, false),
        ("ada", 1, true),
        ("ada", 0, false),
    ] {
        time.advance(Duration::from_secs(seconds));
        assert_eq!(take(&tries.clone(), &time, who, 1).await.is_ok(), passes, "{who} {seconds}");
    }
}

#[tokio::test]
async fn it_refuses_as_a_layer_does() {
    let (time, tries) = (FakeTime::new(), throttle(per_minute(6)));
    let context = context(&time);
    drop(tries.take(&context, "ada", 5).await.unwrap());
    let left = context.quotas().next().unwrap();
    assert_eq!((&*left.name, left.limit, left.remaining), ("log-in", 6, 1));
    let refused = tries.take(&context, "ada", 3).await.unwrap_err().respond(&context);
    assert_eq!(refused.status(), 429);
    for (name, want) in [
        ("retry-after", "20"),
        ("ratelimit", "\"log-in\";r=1;t=50"),
        ("ratelimit-policy", "\"log-in\";q=6;w=60;qu=\"units\""),
    ] {
        assert_eq!(header(&refused, name), Some(want), "{name}");
    }
    // Never at all.
    let never = tries.take(&context, "ada", 7).await.unwrap_err().respond(&context);
    assert_eq!(header(&never, "retry-after"), None);
}

#[tokio::test]
async fn what_is_given_back_was_never_taken() {
    let (time, tries) = (FakeTime::new(), throttle(per_minute(1).and(at_once(1))));
    for _ in 0..3 {
        take(&tries, &time, "ada", 1).await.unwrap().give_back();
    }
    let kept = take(&tries, &time, "ada", 1).await.unwrap();
    time.advance(Duration::from_mins(1));
    assert!(take(&tries, &time, "ada", 1).await.is_err(), "one is under way");
    drop(kept);
    drop(take(&tries, &time, "ada", 1).await.unwrap());
    assert!(take(&tries, &time, "ada", 1).await.is_err(), "what is dropped stays taken");
}

#[tokio::test]
async fn an_answer_settles_it_and_says_what_is_left() {
    let (time, tries) = (FakeTime::new(), throttle(per_minute(2).refusals()));
    let (parts, ()) = Request::new(()).into_parts();
    for (status, left) in [(200, 2), (401, 2), (200, 1), (403, 1)] {
        let context = context(&time);
        let pass = tries.pass(&Asked::of(&parts, &context)).await.unwrap();
        let mut answer = Response::new(Body::from("x"));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        let answer = pass.answer(answer);
        let fields = header(&answer, "ratelimit").unwrap();
        assert!(fields.starts_with(&format!("\"log-in\";r={left}")), "{status}: {fields}");
    }
    let context = context(&time);
    let refused = tries.pass(&Asked::of(&parts, &context)).await;
    assert_eq!(refused.unwrap_err().kind().slug(), "quota-exceeded");
}

#[test]
fn what_cannot_be_counted_is_told_at_once() {
    let many = (0..8).fold(per_minute(1), |quota, _| quota.and(per_minute(1)));
    for (name, quota, want) in [
        ("lög-in", per_minute(1), "plain ASCII"),
        ("", per_minute(1), "plain ASCII"),
        ("log-in", many, "more than eight bounds"),
    ] {
        let error = Throttle::new(name, quota).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_long_stream_saves_nothing_up() {
    let (time, rows) = (FakeTime::new(), throttle(per_minute(6)));
    let context = context(&time);
    time.advance(Duration::from_hours(1));
    for (units, passes) in [(6, true), (1, false)] {
        assert_eq!(rows.take(&context, "ada", units).await.is_ok(), passes, "{units}");
    }
    time.advance(Duration::from_secs(10));
    for (units, passes) in [(1, true), (1, false)] {
        assert_eq!(rows.take(&context, "ada", units).await.is_ok(), passes, "{units}");
    }
}

#[tokio::test]
async fn what_is_given_back_late_takes_nothing_from_those_who_came_since() {
    let (time, tries) = (FakeTime::new(), throttle(per_minute(60).burst(10)));
    let first = take(&tries, &time, "ada", 10).await.unwrap();
    // Its time has passed, and others have taken all that came in.
    time.advance(Duration::from_secs(15));
    drop(take(&tries, &time, "ada", 10).await.unwrap());
    first.give_back();
    assert!(take(&tries, &time, "ada", 1).await.is_err());
    // Of what has passed in part the rest is given back.
    time.advance(Duration::from_secs(10));
    let half = take(&tries, &time, "ada", 10).await.unwrap();
    time.advance(Duration::from_secs(4));
    half.give_back();
    drop(take(&tries, &time, "ada", 10).await.unwrap());
    assert!(take(&tries, &time, "ada", 1).await.is_err());
}

#[test]
fn without_a_request_it_counts_at_once() {
    let (time, mails) = (FakeTime::new(), throttle(per_minute(6).burst(2)));
    let clock = time.clock();
    let take = |who: &str, units| mails.try_take(who, units, &clock);
    assert_eq!((take("ada", 1), take("ada", 1)), (Ok(()), Ok(())));
    assert_eq!(take("ada", 1), Err(Some(Duration::from_secs(10))));
    assert_eq!((take("eve", 2), take("eve", 3)), (Ok(()), Err(None)));
    time.advance(Duration::from_secs(10));
    assert_eq!((take("ada", 1), take("eve", 1)), (Ok(()), Ok(())));
    // Of several bounds none is counted where one has no room.
    let both = throttle(per_minute(60).burst(5).and(at_once(9)).and(per_minute(2)));
    let take = |units| both.try_take(&7_u32, units, &clock);
    assert_eq!((take(2), take(1).is_err(), take(3)), (Ok(()), true, Err(None)));
    time.advance(Duration::from_secs(60));
    assert_eq!(take(2), Ok(()));
}
