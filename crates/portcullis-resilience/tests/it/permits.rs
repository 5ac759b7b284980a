//! What is held is held as long as it must be, and no longer.
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Frame;
use portcullis_core::{Body, Problem};
use portcullis_resilience::{
    Breaker, BreakerLayer, BreakerState, Bulkhead, BulkheadLayer, RetryLayer, TimeoutLayer, kinds,
};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::support::{How, act, call, clock, paused, server};

/// A body of some pieces.
struct Pieces(u8);

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        std::task::Poll::Ready(left.map(|_| Ok(Frame::data("piece".into()))))
    }
}

#[tokio::test]
async fn a_call_is_under_way_until_the_body_of_its_answer_is_over() {
    let bulkhead = Bulkhead::new(1);
    let answer = async |_: Request<Body>| Ok::<_, ()>(Response::new(Body::new(Pieces(2))));
    let mut service = BulkheadLayer::new(bulkhead.clone()).layer(service_fn(answer));
    let response = call(&mut service, Request::new(Body::empty())).await.unwrap();
    assert_eq!(bulkhead.under_way(), 1);
    let refused = call(&mut service, Request::new(Body::empty())).await.unwrap();
    let problem = refused.extensions().get::<Problem>().unwrap();
    assert_eq!(problem.kind(), kinds::UPSTREAM_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(problem.is_safe_to_retry());
    assert_eq!(portcullis_testkit::read(response).await, "piecepiece");
    assert_eq!(bulkhead.under_way(), 0);
    let unread = call(&mut service, Request::new(Body::empty())).await.unwrap();
    assert_eq!(bulkhead.under_way(), 1);
    drop(unread);
    assert_eq!(bulkhead.under_way(), 0);
    // An answer without a body is over at once.
    let empty = async |_: Request<Body>| Ok::<_, ()>(Response::new(Body::empty()));
    let mut service = BulkheadLayer::new(bulkhead.clone()).layer(service_fn(empty));
    let _answer = call(&mut service, Request::new(Body::empty())).await.unwrap();
    assert_eq!(bulkhead.under_way(), 0);
}

#[test]
fn a_call_is_gone_with_its_time_also_while_somebody_keeps_the_future() {
    paused(async {
        let (mut inner, seen) = server(vec![act(60_000, How::Status(200))]);
        poll_fn(|cx| inner.poll_ready(cx)).await.unwrap();
        let limit = TimeoutLayer::new(Duration::from_millis(100)).clock(clock());
        let mut future = pin!(limit.layer(inner).call(Request::new(Body::empty())));
        let response = future.as_mut().await.unwrap();
        assert_eq!((response.status().as_u16(), seen.under_way()), (504, 0));
    });
}

#[test]
fn a_breaker_blames_the_server_for_what_the_server_did() {
    for (how, blamed) in [
        (How::Status(200), false),
        (How::Status(404), false),
        (How::Status(500), false),
        (How::Status(503), true),
        (How::Error, true),
    ] {
        paused(async {
            let breaker = Breaker::builder().minimum(1).clock(clock()).build();
            let (inner, _) = server(vec![act(0, how)]);
            let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
            drop(call(&mut service, Request::new(Body::empty())).await);
            assert_eq!(breaker.state() == BreakerState::Open, blamed, "{how:?}");
        });
    }
    // A layer of ours that lets nobody through asks nobody.
    paused(async {
        let breaker = Breaker::builder().minimum(1).clock(clock()).build();
        let (inner, seen) = server(vec![act(0, How::Status(200))]);
        let mut service = ServiceBuilder::new()
            .layer(BreakerLayer::new(breaker.clone()))
            .layer(BulkheadLayer::new(Bulkhead::new(0)))
            .service(inner);
        let refused = call(&mut service, Request::new(Body::empty())).await.unwrap();
        assert_eq!((refused.status().as_u16(), seen.calls().len()), (503, 0));
        assert_eq!(breaker.state(), BreakerState::Closed);
    });
}

/// Whatever stands around it: nobody waits for what is known already.
#[test]
fn an_open_breaker_is_heard_at_once_through_the_whole_stack() {
    paused(async {
        let breaker =
            Breaker::builder().minimum(1).open(Duration::from_secs(4)).clock(clock()).build();
        let (inner, seen) = server(vec![act(0, How::Status(503))]);
        let mut service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(60)).clock(clock()))
            .layer(RetryLayer::new(2).clock(clock()))
            .layer(BreakerLayer::new(breaker))
            .service(inner);
        drop(call(&mut service, Request::new(Body::empty())).await);
        let began = tokio::time::Instant::now();
        let refused = call(&mut service, Request::new(Body::empty())).await.unwrap();
        assert_eq!((refused.status().as_u16(), began.elapsed()), (503, Duration::ZERO));
        assert_eq!(refused.headers()["retry-after"], "4");
        assert_eq!(seen.calls().len(), 1);
    });
}

#[test]
fn an_open_breaker_answers_at_once_and_says_for_how_long() {
    paused(async {
        let open = Duration::from_millis(2_500);
        let breaker = Breaker::builder().minimum(1).open(open).clock(clock()).build();
        let (inner, seen) = server(vec![act(10, How::Status(503)), act(10, How::Status(200))]);
        let mut service = BreakerLayer::new(breaker).layer(inner);
        drop(call(&mut service, Request::new(Body::empty())).await);
        let grpc = Request::post("/").header("content-type", "application/grpc");
        let began = tokio::time::Instant::now();
        let refused = call(&mut service, grpc.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(refused.headers()["grpc-status"], "14");
        assert_eq!(refused.headers()["retry-after"], "3");
        assert_eq!(seen.calls().len(), 1);
        tokio::time::sleep(open).await;
        let again = call(&mut service, Request::new(Body::empty())).await.unwrap();
        assert_eq!(again.status(), 200);
    });
}
