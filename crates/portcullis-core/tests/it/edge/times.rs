//! Time at the edge: the client's wish, and whose clock it is.
use std::time::Duration;

use portcullis_core::{Clock, Context, Deadline, EdgeLayer};
use portcullis_testkit::{FakeTime, TestClient, get};
use tower::{Layer, ServiceExt};

use crate::support::telling;

#[tokio::test]
async fn a_grpc_client_says_how_long_it_waits() {
    let application = telling(|context, _| {
        let deadline: Deadline = context.deadline();
        format!("{:?}", deadline.remaining(context.start()))
    });
    let client = TestClient::new(EdgeLayer::new().layer(application));
    let grpc = "application/grpc+proto";
    for (kind, wish, want) in [
        (grpc, "2H", Some(Duration::from_secs(7200))),
        (grpc, "3M", Some(Duration::from_secs(180))),
        (grpc, "10S", Some(Duration::from_secs(10))),
        (grpc, "250m", Some(Duration::from_millis(250))),
        (grpc, "7u", Some(Duration::from_micros(7))),
        (grpc, "99999999n", Some(Duration::from_nanos(99_999_999))),
        (grpc, "4000000H", Some(Duration::from_secs(4_000_000 * 3600))),
        // Longer than a clock can count: no limit.
        (grpc, "99999999H", None),
        (grpc, "123456789S", None),
        (grpc, "S", None),
        (grpc, "1", None),
        (grpc, "", None),
        (grpc, "-1S", None),
        (grpc, "+1S", None),
        (grpc, "1.5S", None),
        (grpc, "1s", None),
        (grpc, "1 S", None),
        ("application/json", "10S", None),
        ("", "10S", None),
    ] {
        let request = client.post("/").header("content-type", kind).header("grpc-timeout", wish);
        assert_eq!(request.send().await.text(), format!("{want:?}"), "{kind} {wish}");
    }
    let answer = client.post("/").header("content-type", grpc).send().await;
    assert_eq!(answer.text(), "None", "no wish");
}

#[tokio::test]
async fn the_clients_wish_can_only_shorten() {
    let application = telling(|context, _| {
        format!("{:?}", context.deadline().remaining(context.start()).unwrap())
    });
    let edge = EdgeLayer::new().layer(application);
    for (wish, want) in [("60S", "10s"), ("2S", "2s")] {
        let request = get("/").header("content-type", "application/grpc");
        let request = request.header("grpc-timeout", wish).clock(Clock::system()).build();
        let context = Context::get(request.extensions()).unwrap();
        context.limit_time(Duration::from_secs(10));
        let answer = edge.clone().oneshot(request).await.unwrap();
        assert_eq!(
            portcullis_testkit::read(answer).await,
            want,
            "10 seconds, and a wish of {wish}"
        );
    }
}

#[tokio::test]
async fn a_client_that_waits_for_ever_does_not_lengthen_what_comes_after_the_edge() {
    // What a layer behind the edge does that knows the route.
    let application = telling(|context, _| {
        context.limit_time(Duration::from_secs(5));
        format!("{:?}", context.deadline().remaining(context.start()).unwrap())
    });
    let client = TestClient::new(EdgeLayer::new().layer(application));
    for (wish, want) in [("", "5s"), ("99999999H", "5s"), ("2S", "2s")] {
        let request = client.post("/").header("content-type", "application/grpc");
        let answer = request.header("grpc-timeout", wish).send().await;
        assert_eq!(answer.text(), want, "5 seconds, and a wish of {wish:?}");
    }
}

#[tokio::test]
async fn time_is_that_of_the_outermost_layer() {
    let (ours, theirs) = (FakeTime::new(), FakeTime::new());
    let edge = EdgeLayer::new().clock(ours.clock());
    for (name, outer, moved, want) in
        [("the edge", None, &ours, "3s"), ("an outer layer", Some(theirs.clock()), &theirs, "3s")]
    {
        let time = moved.clone();
        let application = telling(move |context, _| {
            context.start_explaining();
            time.advance(Duration::from_secs(3));
            context.note("test", || "later");
            format!("{:?}", context.explain().unwrap().notes()[0].after)
        });
        let request = get("/");
        let request = match outer {
            Some(clock) => request.clock(clock),
            None => request,
        };
        let answer = edge.layer(application).oneshot(request.build()).await.unwrap();
        assert_eq!(portcullis_testkit::read(answer).await, want, "{name}");
    }
}
