//! The finished stack as axum serves it: over a real connection.
use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::Request;
use portcullis_axum::{App, Guarded, RequestContext, get};
use portcullis_core::{Body, EdgeLayer, Stack, TrustedProxies, public};
use portcullis_testkit::TestClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, ServiceExt};

/// An application that tells who the client is, behind an edge that trusts `proxies`.
fn app(
    proxies: TrustedProxies,
) -> App<
    impl Service<
        Request<axum::body::Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static,
> {
    async fn tell(RequestContext(context): RequestContext, body: String) -> String {
        let client = context.client().map_or("nobody".to_owned(), |client| client.to_string());
        let port = context.connection().and_then(portcullis_core::Connection::peer);
        format!("{client} {} {body}", port.map_or(0, |peer| peer.port()))
    }
    let api = Guarded::new().route("/who", get(tell).post(tell), public());
    let edge = EdgeLayer::new().trusted_proxies(proxies);
    Stack::new().layer(edge).layer(api.route_layer()).around(api).unwrap()
}

/// A port of this machine that is free.
async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Sends one request and reads the answer until the server closes: our port, the head and the body.
async fn ask(addr: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (port, head.to_ascii_lowercase(), body.to_owned())
}

const END: &str = "host: shop.example\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn served_with_connect_info_the_address_of_the_client_reaches_the_context() {
    let (listener, addr) = listener().await;
    let app = app(TrustedProxies::none()).into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let spoofed = "x-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\n";
    for headers in ["", spoofed] {
        let request = format!("GET /public/../who HTTP/1.1\r\n{headers}{END}");
        let (port, head, body) = ask(addr, &request).await;
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        assert!(head.contains("\r\nx-request-id: "), "{head}");
        assert_eq!(body, format!("127.0.0.1 {port} "));
    }
    let request = format!("POST /who HTTP/1.1\r\ncontent-length: 5\r\n{END}hello");
    let (port, _, body) = ask(addr, &request).await;
    assert_eq!(body, format!("127.0.0.1 {port} hello"));
    for (target, status) in [("/who%2f", "400"), ("/nothing", "404")] {
        let (_, head, body) = ask(addr, &format!("GET {target} HTTP/1.1\r\n{END}")).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\ncontent-type: application/problem+json"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}\n{body}");
    }
    server.abort();
}

#[tokio::test]
async fn a_trusted_proxy_on_this_machine_speaks_for_its_client_only_when_it_is_named() {
    let (listener, addr) = listener().await;
    let app = app(TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let request = format!("GET /who HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\n{END}");
    let (port, _, body) = ask(addr, &request).await;
    assert_eq!(body, format!("1.2.3.4 {port} "));
    server.abort();
}

#[tokio::test]
async fn served_without_connect_info_nobody_is_known() {
    let (listener, addr) = listener().await;
    let app = app(TrustedProxies::none()).into_make_service();
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let (_, head, body) = ask(addr, &format!("GET /who HTTP/1.1\r\n{END}")).await;
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert_eq!(body, "nobody 0 ");
    server.abort();
}

#[tokio::test]
async fn as_a_router_it_is_the_same_application() {
    let router: axum::Router = app(TrustedProxies::none()).into_router();
    let (listener, addr) = listener().await;
    let service = router.clone().into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async { axum::serve(listener, service).await });
    let (port, _, body) = ask(addr, &format!("GET /who HTTP/1.1\r\n{END}")).await;
    assert_eq!(body, format!("127.0.0.1 {port} "));
    server.abort();

    let client = TestClient::new(router);
    client.get("/who").send().await.assert_status(200);
    client.get("/nothing").send().await.assert_problem("route-not-found");
    client.get("/who%2F").send().await.assert_problem("target-invalid");
    client.head("/who").send().await.assert_status(200);
}

#[tokio::test]
async fn inside_it_is_a_service_whose_answers_have_our_body() {
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let request = portcullis_testkit::get("/who").extension(ConnectInfo(peer)).build();
    let request = request.map(axum::body::Body::new);
    let answer = app(TrustedProxies::none()).oneshot(request).await.unwrap();
    assert_eq!(portcullis_testkit::read(answer).await, "192.0.2.7 4711 ");

    // The address is axum's affair, and so is not known to the stack alone.
    let request = portcullis_testkit::get("/who").extension(ConnectInfo(peer)).build();
    let request = request.map(axum::body::Body::new);
    let answer = app(TrustedProxies::none()).into_inner().oneshot(request).await.unwrap();
    let body: Body = answer.into_body();
    assert_eq!(portcullis_testkit::collect(body).await.unwrap().0, "nobody 0 ");
}
