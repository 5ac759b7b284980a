//! The service that calls the endpoint of the matched route.
use std::convert::Infallible;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use http_body_util::Full;
use portcullis_core::{Body, EdgeLayer, Problem, Routes, Stack, problem::kinds};
use portcullis_testkit::{Contract, ReadyGuard, TestClient, get, read};
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Log, named};

#[tokio::test]
async fn it_keeps_the_contract_of_a_layer_around_its_endpoint() {
    let layer = layer_fn(|endpoint| {
        let routes = Routes::builder().get("/books", endpoint).public().build().unwrap();
        routes.layer().layer(routes.into_service())
    });
    Contract::new(layer)
        .passes(|| get("/books").build())
        .refuses(|| get("/films").build())
        .check()
        .await;
}

/// An endpoint that becomes ready only when it is asked for the third time.
#[derive(Clone)]
struct Later {
    asked: usize,
    log: Log,
}

impl Service<Request<Body>> for Later {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        self.log.add(format!("asked {}", self.asked));
        if self.asked < 3 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.log.add(format!("called {}", request.uri()));
        std::future::ready(Ok(Response::new(Body::from("late"))))
    }
}

#[tokio::test]
async fn it_waits_for_an_endpoint_that_is_not_ready_yet() {
    let log = Log::default();
    let endpoint = ReadyGuard::new(Later { asked: 0, log: log.clone() });
    let routes = Routes::builder().get("/late", endpoint).public().build().unwrap();
    let mut service = routes.layer().layer(routes.into_service());
    // It is ready at once, since which endpoint it is shows only with the request.
    let ready = service.ready().await.unwrap();
    assert_eq!(log.take(), "");
    let call = ready.call(get("/late").build());
    assert_eq!(log.take(), "");
    assert_eq!(read(call.await.unwrap()).await, "late");
    assert_eq!(log.take(), "asked 1, asked 2, asked 3, called /late");
}

#[tokio::test]
async fn the_error_of_an_endpoint_comes_out_of_its_call_and_of_its_readiness() {
    #[derive(Clone)]
    struct NeverReady;
    impl Service<Request<Body>> for NeverReady {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = std::future::Pending<Result<Response<Body>, &'static str>>;
        fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("not today"))
        }
        fn call(&mut self, _: Request<Body>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let fails = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("broken"));
    let routes = Routes::builder().get("/", fails).public().build().unwrap();
    let service = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).around(routes);
    assert_eq!(service.unwrap().oneshot(get("/").build()).await.unwrap_err(), "broken");

    let routes = Routes::builder().get("/", NeverReady).public().build().unwrap();
    let service = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).around(routes);
    assert_eq!(service.unwrap().oneshot(get("/").build()).await.unwrap_err(), "not today");
}

#[tokio::test]
async fn an_endpoint_has_its_own_body_and_its_problem_gets_the_dialect_of_the_request() {
    let full = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from("whole"))))
    });
    let routes = Routes::builder().get("/", full).public().build().unwrap();
    let service = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).around(routes);
    assert_eq!(TestClient::new(service.unwrap()).get("/").send().await.text(), "whole");

    let refuses = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Problem::new(kinds::INTERNAL_ERROR).into_response())
    });
    let routes = Routes::builder().get("/", refuses).public().build().unwrap();
    let service = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).around(routes);
    let request = TestClient::new(service.unwrap()).get("/");
    let answer = request.header("accept", "text/html").send().await;
    answer.assert_status(500).assert_problem("internal-error");
    assert!(answer.text().starts_with("<!doctype html>"), "{}", answer.text());
}

#[tokio::test]
async fn without_its_route_layer_it_calls_nobody() {
    let build = || Routes::builder().get("/", named("endpoint")).public().build().unwrap();
    let (mine, other) = (build(), build());
    let alone = TestClient::new(mine.clone().into_service());
    alone.get("/").send().await.assert_status(500).assert_problem("authorization-missing");
    let foreign = TestClient::new(other.layer().layer(mine.into_service()));
    foreign.get("/").send().await.assert_status(500).assert_problem("authorization-missing");
}
