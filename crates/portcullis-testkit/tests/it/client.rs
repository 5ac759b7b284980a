use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Method, Request, Response};
use portcullis_core::{Body, Connection, Context};
use portcullis_testkit::{FakeTime, TestClient, collect, get, read, request};
use serde_json::json;
use tower::service_fn;

use crate::support::{panic_in, panic_of};

/// Says what came.
async fn echo(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let connection = request.extensions().get::<Connection>().cloned();
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    let (body, _) = collect(std::mem::take(request.body_mut())).await.unwrap();
    let said = json!({
        "request": format!("{} {}", request.method(), request.uri()),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
        "peer": connection.and_then(|connection| Some(connection.peer()?.to_string())),
        "extension": request.extensions().get::<u32>(),
    });
    Ok(Response::new(said.to_string().into()))
}

#[tokio::test]
async fn a_request_arrives_as_it_was_written() {
    let client = TestClient::new(service_fn(echo));
    let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let request = client.post("/books?page=2").header("x-a", "1").header("x-a", "2");
    let answer = request.json(json!({ "id": 7 })).peer(peer).extension(5_u32).send().await;
    let want = json!({
        "request": "POST /books?page=2",
        "headers": ["x-a: 1", "x-a: 2", "content-type: application/json", "host: test.example"],
        "body": "{\"id\":7}",
        "peer": "192.0.2.1:4711",
        "extension": 5,
    });
    assert_eq!(answer.assert_status(200).json_value(), want);
    assert_eq!((answer.problem(), answer.header("x-a")), (None, None));
}

#[tokio::test]
async fn every_request_has_a_host() {
    let client = TestClient::new(service_fn(echo));
    for (request, want) in [
        (client.get("/"), json!(["host: test.example"])),
        (client.get("https://shop.example:8443/"), json!(["host: shop.example:8443"])),
        (client.get("/").host("a").host("shop.example"), json!(["host: shop.example"])),
        (client.get("/").header("host", "a").header("host", "b"), json!(["host: a", "host: b"])),
    ] {
        assert_eq!(request.send().await.json_value()["headers"], want);
    }
}

#[tokio::test]
async fn every_method_can_be_asked_for() {
    let client = TestClient::new(service_fn(async |request: Request<Body>| {
        let answer = Response::builder().header("allow", request.method().as_str());
        Ok::<_, Infallible>(answer.body(Body::empty()).unwrap())
    }));
    for (request, want) in [
        (client.get("/"), "GET"),
        (client.head("/"), "HEAD"),
        (client.post("/"), "POST"),
        (client.put("/"), "PUT"),
        (client.patch("/"), "PATCH"),
        (client.delete("/"), "DELETE"),
        (client.options("/"), "OPTIONS"),
        (client.request(Method::TRACE, "/"), "TRACE"),
    ] {
        assert_eq!(request.send().await.header("allow"), Some(want));
    }
}

#[tokio::test]
async fn a_request_can_begin_on_a_clock_of_the_test() {
    let time = FakeTime::new();
    let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let show = async |request: Request<Body>| {
        let start = Context::get(request.extensions()).unwrap().start();
        Ok::<_, Infallible>(Response::new(Body::from(format!("{start:?}"))))
    };
    let client = TestClient::new(service_fn(show)).clock(time.clock());
    let want = format!("{:?}", time.clock().now());
    assert_eq!(client.get("/").peer(peer).send().await.text(), want);
    assert_eq!(read(show(get("/").clock(time.clock()).build()).await.unwrap()).await, want);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_where_it_is_written() {
    for (message, want) in [
        (panic_in(|| get("no path")), "not a request target"),
        (panic_in(|| get("/").header("a b", "c")), "not a header name"),
        (panic_in(|| get("/").header("a", "\n")), "not a header value"),
        (panic_in(|| TestClient::new(()).allow_header("a b")), "not a header name"),
    ] {
        assert!(message.contains(want), "{message}");
    }
    let built = request(Method::PUT, "/books/7").body("text").build();
    assert_eq!((built.method(), built.uri().path()), (&Method::PUT, "/books/7"));
}

#[tokio::test]
async fn a_service_that_fails_fails_the_test() {
    let failing = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("broken pipe"));
    let message = panic_of(TestClient::new(failing).get("/books").send()).await;
    for part in ["GET /books", "client.rs", "the service failed", "broken pipe"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn an_assertion_says_what_came_instead() {
    let answer = TestClient::new(service_fn(echo)).get("/books").send().await;
    for (message, want) in [
        (panic_in(|| answer.assert_status(404)), "expected the status 404"),
        (panic_in(|| answer.assert_problem("sold-out")), "expected the problem `sold-out`"),
    ] {
        assert!(message.contains(want), "{message}");
        assert!(message.contains("GET /books was answered 200 OK"), "{message}");
        assert!(message.contains("host: test.example"), "{message}");
    }
}
