//! The finished stack as axum serves it: over a real connection.
use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::extract::rejection::ExtensionRejection;
use http::Request;
use portcullis_axum::{App, Guarded, RequestContext, get};
use portcullis_core::{Body, Connection, EdgeLayer, Stack, Tls, TrustedProxies, public};
use portcullis_testkit::{TestClient, TestRequest};
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
        let port = context.connection().and_then(Connection::peer);
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

/// An application that asks axum, and our layers, where the request comes from, and says what was sent.
fn asking() -> App<
    impl Service<Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
    + Service<
        Request<axum::body::Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static,
> {
    async fn tell(
        info: Result<ConnectInfo<SocketAddr>, ExtensionRejection>,
        RequestContext(context): RequestContext,
        body: String,
    ) -> String {
        let info = info.map_or_else(|_| "nobody".to_owned(), |ConnectInfo(peer)| peer.to_string());
        let connection = context.connection();
        let name = connection.and_then(Connection::tls).and_then(Tls::server_name);
        format!("{info} {} {body}", name.unwrap_or("-"))
    }
    let api = Guarded::new().route("/who", get(tell).post(tell), public());
    Stack::new().layer(EdgeLayer::new()).layer(api.route_layer()).around(api).unwrap()
}

#[tokio::test]
async fn under_a_server_that_says_the_connection_handlers_find_connect_info_all_the_same() {
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let other: SocketAddr = "192.0.2.8:4712".parse().unwrap();
    let tls = std::sync::Arc::new(Tls::new().with_server_name("shop.example"));
    let connection = || Connection::new(Some(peer)).with_tls(std::sync::Arc::clone(&tls));
    for (name, connection, info, body, want) in [
        ("ours", Some(connection()), None, "", "192.0.2.7:4711 shop.example "),
        (
            "ours, with a body",
            Some(connection()),
            None,
            "hello",
            "192.0.2.7:4711 shop.example hello",
        ),
        (
            "both: each keeps what was said",
            Some(connection()),
            Some(other),
            "",
            "192.0.2.8:4712 shop.example ",
        ),
        ("on a Unix socket", Some(Connection::new(None)), None, "", "nobody - "),
        ("nothing", None, None, "hello", "nobody - hello"),
    ] {
        let request = || {
            let mut request = portcullis_testkit::request(http::Method::POST, "/who").body(body);
            request = connection.clone().into_iter().fold(request, TestRequest::connection);
            let infos = info.map(ConnectInfo).into_iter();
            infos.fold(request, TestRequest::extension).build()
        };
        // A request with our body, as our server makes it; then the stack alone, as our server calls it.
        let answer = asking().oneshot(request()).await.unwrap();
        assert_eq!(portcullis_testkit::read(answer).await, want, "{name}");
        let answer: http::Response<Body> = asking().into_inner().oneshot(request()).await.unwrap();
        assert_eq!(portcullis_testkit::read(answer).await, want, "{name}");
    }
    // axum's own server says only the address, from which we make the connection.
    let request = portcullis_testkit::get("/who").extension(ConnectInfo(other)).build();
    let answer = asking().oneshot(request.map(axum::body::Body::new)).await.unwrap();
    assert_eq!(portcullis_testkit::read(answer).await, "192.0.2.8:4712 - ");
}

#[tokio::test]
async fn our_body_is_a_request_body_for_any_router_of_axum() {
    fn is_one<
        B: http_body::Body<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    >(
        _: &B,
    ) {
    }
    let whole = |request: axum::extract::Request| async move {
        let trailers = portcullis_testkit::collect(request.into_body()).await.unwrap();
        format!("{:?} {:?}", trailers.0, trailers.1.map(|trailers| trailers.len()))
    };
    let router = axum::Router::new().route("/", axum::routing::post(whole));
    let trailers =
        http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
    let chunks = http_body_util::Full::new(bytes::Bytes::from("ab"));
    let chunks = http_body_util::BodyExt::with_trailers(chunks, async { Some(Ok(trailers)) });
    for (body, want) in [
        (Body::empty(), r#"b"" None"#),
        (Body::from("all"), r#"b"all" None"#),
        (Body::new(chunks), r#"b"ab" Some(1)"#),
    ] {
        is_one(&body);
        let request = Request::post("/").body(body).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(portcullis_testkit::read(answer).await, want);
    }
}
