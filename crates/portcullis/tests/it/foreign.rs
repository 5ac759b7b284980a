//! Layers of tower-http between ours, around an axum router and a tonic service.
use std::time::Duration;

use http::{Request, StatusCode};
use portcullis::Methods;
use portcullis::axum::{Caller, Guarded, get};
use portcullis::prelude::*;
use portcullis_testkit::{TestClient, as_user};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

fn roles() -> Roles {
    Roles::builder().role("clerk").permits("health:read").build().unwrap()
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30))
}

#[tokio::test]
async fn around_an_axum_router() {
    async fn who(Caller(who): Caller<Identity>) -> String {
        who.subject().repeat(1_000)
    }
    let api = Guarded::new().route("/who", get(who), require("health:read"));
    let app = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .at(stage::Answer, TraceLayer::new_for_http())
        .layer(as_user("alice").roles(["clerk"]))
        .at(stage::Limit, timeout())
        .layer(AuthorizeLayer::new(roles()))
        .at(stage::Inner, CompressionLayer::new())
        .around(api)
        .unwrap();
    let client = TestClient::new(app);
    let answer = client.get("/who").send().await;
    assert_eq!((answer.status(), answer.text().len()), (StatusCode::OK, 5_000));
    let answer = client.get("/who").header("accept-encoding", "gzip").send().await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.bytes().len() < 500);
}

#[tokio::test]
async fn around_a_tonic_service() {
    for (role, want) in
        [("clerk", Ok(ServingStatus::Serving)), ("stranger", Err(tonic::Code::PermissionDenied))]
    {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
        let routes = Routes::builder()
            .on(Methods::Any, "/grpc.health.v1.Health/{method}", health)
            .require("health:read")
            .build()
            .unwrap();
        let service = Stack::new()
            .layer(ObserveLayer::default())
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .at(stage::Answer, TraceLayer::new_for_grpc())
            .layer(as_user("alice").roles([role]))
            .layer(AuthorizeLayer::new(roles()))
            .at(stage::Inner, timeout())
            .around(routes)
            .unwrap();
        let client = tower::service_fn(move |request: Request<tonic::body::Body>| {
            service.clone().oneshot(request)
        });
        let origin = "http://shop.example".parse().unwrap();
        let request = HealthCheckRequest { service: "shop".to_owned() };
        let answer = HealthClient::with_origin(client, origin).check(request).await;
        assert_eq!(
            answer.map(|found| found.into_inner().status()).map_err(|status| status.code()),
            want
        );
    }
}
