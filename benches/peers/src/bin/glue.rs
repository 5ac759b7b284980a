//! What teams put together today: axum, tower-http, a rate limiter, and the client of hyper-util.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

#[derive(Clone)]
struct Upstream {
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
}

async fn pass_on(State(upstream): State<Upstream>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{}{path}", upstream.address).parse().expect("a path");
    *request.uri_mut() = uri;
    match upstream.client.request(request).await {
        Ok(response) => response.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1);
    let (listen, upstream) = (words.next().expect("an address"), words.next().expect("an upstream"));
    let address = upstream.parse().expect("an address");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let limits = GovernorConfigBuilder::default().per_nanosecond(1).burst_size(u32::MAX).finish();
    let limits = Arc::new(limits.expect("a limit"));
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::x_request_id());
    let app = Router::new()
        .fallback(pass_on)
        .layer(GovernorLayer::new(limits))
        .layer(ConcurrencyLimitLayer::new(10_000))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30)))
        .layer(layers)
        .with_state(Upstream { client, address });
    let listener = tokio::net::TcpListener::bind(listen).await.expect("a free address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await.expect("it serves");
}
