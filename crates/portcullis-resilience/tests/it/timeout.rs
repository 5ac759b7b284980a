//! How long a call may take.
use std::time::Duration;

use http::{Request, header::CONTENT_TYPE};
use portcullis_core::{Body, Deadline, GrpcTimeout, Problem};
use portcullis_resilience::{RetryLayer, TimeoutLayer, kinds};
use tower::{ServiceBuilder, service_fn};

use crate::support::{How, act, call, clock, paused, server, status};

fn get() -> Request<Body> {
    Request::new(Body::empty())
}

#[test]
fn an_answer_in_time_passes_and_a_late_one_is_a_problem_and_is_dropped() {
    for (after, want, ended) in [(99, 200, 99), (101, 504, 100)] {
        paused(async {
            let (inner, seen) = server(vec![act(after, How::Status(200))]);
            let layer = TimeoutLayer::new(Duration::from_millis(100)).clock(clock());
            let mut service = ServiceBuilder::new().layer(layer).service(inner);
            let began = tokio::time::Instant::now();
            let result = call(&mut service, get()).await;
            assert_eq!(status(&result), Some(want));
            // Tokio's timers count in milliseconds, and end behind the one they are told.
            assert!(began.elapsed().as_millis().abs_diff(ended) <= 1, "{:?}", began.elapsed());
            assert_eq!(seen.under_way(), 0);
        });
    }
}

#[test]
fn what_is_over_before_it_began_is_not_begun() {
    paused(async {
        let (inner, seen) = server(vec![act(0, How::Status(200))]);
        let layer = TimeoutLayer::new(Duration::from_secs(60)).clock(clock());
        let mut service = ServiceBuilder::new().layer(layer).service(inner);
        let mut request = get();
        let deadline = Deadline::starting(clock().now()).at_most(Duration::from_millis(5));
        request.extensions_mut().insert(deadline);
        tokio::time::advance(Duration::from_millis(5)).await;
        let response = call(&mut service, request).await.unwrap();
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!(problem.kind(), kinds::UPSTREAM_TIMEOUT);
        assert!(problem.is_safe_to_retry());
        assert_eq!(seen.calls().len(), 0);
    });
}

/// Of the limits, of layers, of the request and of gRPC, the earliest holds, and the server is told.
#[test]
fn the_earliest_limit_holds_and_a_server_is_told() {
    for (limit, outer, grpc, want) in [
        (1_000, None, None, 1_000),
        (1_000, Some(500), None, 500),
        (1_000, Some(500), Some(200), 200),
        (100, Some(500), Some(200), 100),
        (100, None, Some(99_999), 100),
    ] {
        paused(async {
            let inner = service_fn(async |request: Request<Body>| {
                let deadline = request.extensions().get::<Deadline>();
                let left = deadline.and_then(|deadline| deadline.remaining(clock().now()));
                let told = GrpcTimeout::read(request.headers()).map(|told| told.0);
                Ok::<_, ()>(http::Response::new(Body::from(format!("{left:?} {told:?}"))))
            });
            let layer = TimeoutLayer::new(Duration::from_millis(limit)).clock(clock());
            let mut service = ServiceBuilder::new().layer(layer).service(inner);
            let mut request = get();
            if let Some(outer) = outer {
                let deadline = Deadline::starting(clock().now());
                let deadline = deadline.at_most(Duration::from_millis(outer));
                request.extensions_mut().insert(deadline);
            }
            if let Some(grpc) = grpc {
                let kind = http::HeaderValue::from_static("application/grpc");
                request.headers_mut().insert(CONTENT_TYPE, kind);
                GrpcTimeout(Duration::from_millis(grpc)).write(request.headers_mut());
            }
            let want = Duration::from_millis(want);
            // A little more, so that whoever keeps to it on the way is not quicker than we are.
            let told = grpc.map(|_| want + Duration::from_millis(2));
            let response = call(&mut service, request).await.unwrap();
            let said = portcullis_testkit::read(response).await;
            let left = outer.map(|_| want);
            assert_eq!(said, format!("{left:?} {told:?}"), "{limit} {outer:?} {grpc:?}");
        });
    }
}

#[test]
fn around_retries_it_limits_all_tries_and_inside_each_of_them() {
    paused(async {
        let (inner, seen) = server(vec![act(60_000, How::Status(200))]);
        let limit = |time| TimeoutLayer::new(Duration::from_millis(time)).clock(clock());
        let backoff = portcullis_resilience::Backoff::new(Duration::ZERO, Duration::ZERO);
        let mut service = ServiceBuilder::new()
            .layer(limit(350))
            .layer(RetryLayer::new(9).backoff(backoff).clock(clock()))
            .layer(limit(100))
            .service(inner);
        let began = tokio::time::Instant::now();
        let result = call(&mut service, get()).await;
        assert_eq!(status(&result), Some(504));
        assert!(began.elapsed() <= Duration::from_millis(352), "{:?}", began.elapsed());
        assert_eq!(seen.calls().len(), 4, "{:?}", seen.times());
        assert_eq!(seen.under_way(), 0);
    });
}
