//! A permit is held as long as a request is under way, and never longer.
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use portcullis_core::{Body, BoxError, Connection};
use portcullis_ratelimit::{Concurrency, OverloadLayer};
use portcullis_testkit::{FakeTime, TestClient, get, read};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{Gate, call, poll_once, request_of};
use crate::support::{Endpoint, peer};

/// One frame, and then another one when it is asked again.
struct TwoFrames(usize);

impl HttpBody for TwoFrames {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 += 1;
        Poll::Ready((self.0 <= 2).then(|| Ok(Frame::data(Bytes::from_static(b"frame")))))
    }
}

#[tokio::test]
async fn one_too_many_is_shed_at_once_and_told_when_to_come_back() {
    let clock = FakeTime::new().clock();
    let gate = Gate::new();
    let layer = OverloadLayer::before_routing(Concurrency::fixed(2))
        .retry_after(Duration::from_millis(2_500));
    let service = layer.layer(gate.service());
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(call(&service, request_of(None, &clock)).await);
    }
    let answer = TestClient::new(service.clone()).clock(clock.clone()).get("/").send().await;
    answer.assert_status(503).assert_problem("server-busy");
    assert_eq!(answer.header("retry-after"), Some("3"));
    assert_eq!(gate.served().len(), 2, "the inner service is not called");
    assert_eq!((layer.in_flight(), layer.limit()), (2, 2));
    gate.answer_one();
    assert_eq!(poll_once(&mut held[0]).await.unwrap(), 200);
    assert_eq!(layer.in_flight(), 1);
    let mut next = call(&service, request_of(None, &clock)).await;
    assert_eq!(poll_once(&mut next).await, None);
}

#[tokio::test]
async fn a_permit_is_held_through_the_body() {
    let layer = OverloadLayer::before_routing(Concurrency::fixed(1));
    let service = layer.layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(TwoFrames(0)))
    }));
    let answer = async || service.clone().oneshot(get("/").build()).await.unwrap();
    let response = answer().await;
    assert_eq!(layer.in_flight(), 1);
    assert_eq!(answer().await.status(), 503);
    assert_eq!(read(response).await, "frameframe");
    assert_eq!(layer.in_flight(), 0);
    for frames in 0..2 {
        let mut response = answer().await;
        for _ in 0..frames {
            let body = Pin::new(response.body_mut());
            assert!(body.poll_frame(&mut Cx::from_waker(Waker::noop())).is_ready());
        }
        assert_eq!(layer.in_flight(), 1);
        drop(response);
        assert_eq!(layer.in_flight(), 0, "dropped after {frames} frames");
    }
}

#[tokio::test]
async fn a_dropped_call_makes_room_before_its_first_poll_and_after() {
    let clock = FakeTime::new().clock();
    let layer = OverloadLayer::before_routing(Concurrency::fixed(1));
    let service = layer.layer(Gate::new().service());
    for polls in 0..2 {
        let mut dropped = call(&service, request_of(None, &clock)).await;
        for _ in 0..polls {
            assert_eq!(poll_once(&mut dropped).await, None);
        }
        assert_eq!(layer.in_flight(), 1);
        drop(dropped);
        assert_eq!(layer.in_flight(), 0, "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn a_panic_makes_room() {
    let layer = OverloadLayer::before_routing(Concurrency::fixed(1)).per_address(1);
    let mut at_once = layer.layer(service_fn(
        |_: Request<Body>| -> std::future::Ready<Result<Response<Body>, Infallible>> {
            panic!("in the call")
        },
    ));
    let mut afterwards =
        layer.layer(service_fn(async |_: Request<Body>| -> Result<Response<Body>, Infallible> {
            panic!("in the future")
        }));
    let request = || get("/").peer(peer("192.0.2.1")).build();
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(at_once.call(request()))));
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut call = Box::pin(afterwards.call(request()));
        let _ = call.as_mut().poll(&mut Cx::from_waker(Waker::noop()));
    }));
    assert_eq!((layer.in_flight(), layer.counted()), (0, 0));
}

#[tokio::test]
async fn one_address_may_have_so_many_under_way_and_takes_no_memory_afterwards() {
    let layer = OverloadLayer::before_routing(Concurrency::fixed(100)).per_address(2);
    let gate = Gate::new();
    let service = layer.layer(gate.service());
    let from = |address: &str| get("/").connection(Connection::new(Some(peer(address)))).build();
    let mut held = Vec::new();
    for (address, passes) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("192.0.2.1", false),
        ("192.0.2.2", true),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
        ("2001:db8:0:1::1", true),
    ] {
        let mut call = call(&service, from(address)).await;
        let status = poll_once(&mut call).await;
        assert_eq!(status.is_none(), passes, "{address}: {status:?}");
        held.push(call);
    }
    // An address that is not known is not held to it.
    for _ in 0..3 {
        let mut call = call(&service, get("/").build()).await;
        assert_eq!(poll_once(&mut call).await, None);
    }
    assert_eq!(layer.counted(), 4);
    drop(held);
    assert_eq!((layer.counted(), layer.in_flight()), (0, 0));
}

#[test]
fn threads_together_never_have_more_under_way_than_the_limit() {
    let layer = OverloadLayer::before_routing(Concurrency::fixed(5)).fair();
    let service = layer.layer(Endpoint::default());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (mut service, layer) = (service.clone(), layer.clone());
            scope.spawn(move || {
                for at in 0..2_000 {
                    let calls: Vec<_> = (0..at % 4)
                        .map(|_| {
                            let address = format!("192.0.2.{thread}");
                            service.call(get("/").peer(peer(&address)).build())
                        })
                        .collect();
                    assert!(layer.in_flight() <= 5);
                    drop(calls);
                }
            });
        }
    });
    assert_eq!((layer.in_flight(), layer.counted()), (0, 0));
}
