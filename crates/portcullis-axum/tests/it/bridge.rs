//! Single layers on an axum router, told what axum knows.
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use portcullis_axum::{BridgeLayer, RequestContext};
use portcullis_core::{EdgeLayer, TrustedProxies};
use portcullis_testkit::{Contract, TestClient};
use tower::{Layer, ServiceExt};

const PEER: &str = "192.0.2.7:4711";

async fn tell(RequestContext(context): RequestContext) -> String {
    let client = context.client().map_or("nobody".to_owned(), |client| client.to_string());
    format!("{client} {}", context.route_template().unwrap_or("nowhere"))
}

fn router() -> Router {
    let inner = Router::new().route("/{page}", get(tell));
    Router::new().route("/books/{id}", get(tell)).route("/", get(tell)).nest("/old", inner)
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_layer() {
    let peer: SocketAddr = PEER.parse().unwrap();
    let request = move || portcullis_testkit::get("/").extension(ConnectInfo(peer)).build();
    Contract::new(BridgeLayer::new()).passes(request).check().await;
}

#[tokio::test]
async fn the_address_and_the_template_reach_the_layers_inside() {
    let peer: SocketAddr = PEER.parse().unwrap();
    let bridged = router().layer(EdgeLayer::new()).layer(BridgeLayer::new());
    let client = TestClient::new(bridged);
    for (path, template) in [
        ("/books/7", "/books/{id}"),
        ("/", "/"),
        ("/old/page", "/old/{page}"),
        ("/books/7?x", "/books/{id}"),
    ] {
        let answer = client.get(path).extension(ConnectInfo(peer)).send().await;
        assert_eq!(answer.text(), format!("192.0.2.7 {template}"), "{path}");
        assert_eq!(client.get(path).send().await.text(), format!("nobody {template}"), "{path}");
    }
    let answer = client.get("/books/7").extension(ConnectInfo(peer));
    let answer = answer.header("x-forwarded-for", "1.2.3.4").send().await;
    assert_eq!(answer.text(), "192.0.2.7 /books/{id}", "nobody is trusted unasked");
}

#[tokio::test]
async fn the_edge_knows_which_proxy_it_hears() {
    let proxies = TrustedProxies::new(["192.0.2.0/24".parse().unwrap()]);
    let edge = EdgeLayer::new().trusted_proxies(proxies);
    let client = TestClient::new(router().layer(edge).layer(BridgeLayer::new()));
    let peer: SocketAddr = PEER.parse().unwrap();
    let request = client.get("/").extension(ConnectInfo(peer));
    let answer = request.header("x-forwarded-for", "1.2.3.4").send().await;
    assert_eq!(answer.text(), "1.2.3.4 /");
}

#[tokio::test]
async fn what_was_routed_by_another_spelling_is_refused_unless_the_edge_stands_in_front_of_the_router()
 {
    let behind = TestClient::new(router().layer(EdgeLayer::new()).layer(BridgeLayer::new()));
    let front = TestClient::new(EdgeLayer::new().layer(router().layer(BridgeLayer::new())));
    for (path, template) in [
        ("/books/%37", "/books/{id}"),
        ("/old/p%61ge", "/old/{page}"),
        ("/old/./page", "/old/{page}"),
        ("/old/page/../../books/7", "/books/{id}"),
    ] {
        assert_eq!(front.get(path).send().await.text(), format!("nobody {template}"), "{path}");
    }
    for path in ["/books/%37", "/old/p%61ge", "/books/..", "/books/%2e%2e"] {
        behind.get(path).send().await.assert_status(400).assert_problem("target-invalid");
    }
    for path in ["/books/7?x=%37", "/books/a%20b"] {
        behind.get(path).send().await.assert_status(200);
    }
}

#[tokio::test]
async fn without_the_bridge_the_layers_know_neither() {
    let peer: SocketAddr = PEER.parse().unwrap();
    let client = TestClient::new(router().layer(EdgeLayer::new()));
    let answer = client.get("/books/7").extension(ConnectInfo(peer)).send().await;
    assert_eq!(answer.text(), "nobody nowhere");
}

#[tokio::test]
async fn what_nobody_serves_has_no_template() {
    let fallback = router().fallback(tell).layer(EdgeLayer::new()).layer(BridgeLayer::new());
    let request = portcullis_testkit::get("/nothing").build().map(axum::body::Body::new);
    let answer = fallback.oneshot(request).await.unwrap();
    assert_eq!(portcullis_testkit::read(answer).await, "nobody nowhere");
}

#[tokio::test]
async fn under_a_server_that_says_the_connection_handlers_find_connect_info() {
    let tell = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let router = Router::new().route("/", get(tell)).layer(BridgeLayer::new());
    let answer = TestClient::new(router).get("/").peer(PEER.parse().unwrap()).send().await;
    assert_eq!(answer.text(), PEER);
}
