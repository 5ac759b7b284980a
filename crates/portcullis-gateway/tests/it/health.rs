//! Servers are asked whether they are well, by HTTP, by TCP and as gRPC does.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::Full;
use portcullis_core::Body;
use portcullis_gateway::{HealthCheck, Upstream};
use portcullis_server::Server;

use crate::support::{in_front_of, serve, telling, until};

fn often(check: HealthCheck) -> HealthCheck {
    check.interval(Duration::from_millis(20)).timeout(Duration::from_secs(1)).fall(2).rise(2)
}

#[tokio::test]
async fn a_server_is_asked_once_however_many_routes_lead_to_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = serve(Server::bind("http://127.0.0.1:0"), move |request: Request<Body>| {
        let is_check =
            request.uri().path() == "/healthz" && request.headers()["host"] == "well.example";
        count.fetch_add(usize::from(is_check), SeqCst);
        telling(request)
    });
    let check = HealthCheck::http("/healthz").host(HeaderValue::from_static("well.example"));
    let check = check.interval(Duration::from_secs(60));
    let upstream = Upstream::builder("b").server(&server.places[0]).health(check).build().unwrap();
    let clients: Vec<_> = (0..10).map(|_| in_front_of(&upstream)).collect();
    for client in &clients {
        assert_eq!(client.get("/").send().await.status(), 200);
    }
    upstream.ready().await;
    assert_eq!(asked.load(SeqCst), 1);
}

/// What a gRPC server answers to a check.
fn grpc(status: u8) -> Response<Body> {
    let trailers: HeaderMap =
        [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]
            .into_iter()
            .collect();
    let body = Full::new(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]));
    let body = body.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

#[tokio::test]
async fn each_kind_of_check_sees_a_server_fall_and_rise() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = Arc::clone(&sick);
    let server = serve(Server::bind("http://127.0.0.1:0"), move |request: Request<Body>| {
        let sick = is_sick.load(SeqCst);
        async move {
            if request.uri().path() == "/grpc.health.v1.Health/Check" {
                return Ok(grpc(if sick { 2 } else { 1 }));
            }
            let mut response = Response::new(Body::empty());
            if sick {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok(response)
        }
    });
    let h2c = server.places[0].replace("http://", "h2c://");
    for (url, check) in [
        (server.places[0].clone(), often(HealthCheck::http("/"))),
        (h2c, often(HealthCheck::grpc("shop.Catalog"))),
    ] {
        let upstream = Upstream::builder("b").server(&url).health(check.clone()).build().unwrap();
        upstream.start(&tokio::runtime::Handle::current());
        upstream.ready().await;
        assert!(upstream.servers()[0].is_well, "{check:?}");
        sick.store(true, SeqCst);
        until(|| !upstream.servers()[0].is_well).await;
        sick.store(false, SeqCst);
        until(|| upstream.servers()[0].is_well).await;
    }
    let upstream =
        Upstream::builder("b").server(&server.places[0]).health(often(HealthCheck::tcp())).build();
    let upstream = upstream.unwrap();
    upstream.start(&tokio::runtime::Handle::current());
    upstream.ready().await;
    assert!(upstream.servers()[0].is_well);
    drop(server);
    until(|| !upstream.servers()[0].is_well).await;
}
