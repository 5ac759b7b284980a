//! Which route a method leads to, and what is answered where none does.
use http::{Method, StatusCode};
use portcullis_core::{EdgeLayer, Methods, Routes, Stack};
use portcullis_testkit::TestClient;
use tower::Service;

use crate::support::{NAME, named};

/// A client of a table with every kind of method.
fn client() -> TestClient<
    impl Service<
        http::Request<portcullis_core::Body>,
        Response = http::Response<portcullis_core::Body>,
        Error = std::convert::Infallible,
    > + Clone,
> {
    let routes = Routes::builder()
        .get("/orders", named("list"))
        .public()
        .post("/orders", named("order"))
        .public()
        .on(Methods::These(vec![Method::PUT, Method::DELETE]), "/orders/{id}", named("change"))
        .public()
        .any("/hook", named("hook"))
        .public()
        .any("/mixed", named("rest"))
        .public()
        .get("/mixed", named("read"))
        .public()
        .get("/own", named("own GET"))
        .public()
        .on(Method::HEAD, "/own", named("own HEAD"))
        .public()
        .on(Method::OPTIONS, "/own", named("own OPTIONS"))
        .public()
        .get("/files/{*rest}", named("files"))
        .public()
        .patch("/files", named("patch"))
        .public()
        .build()
        .unwrap();
    let edge = EdgeLayer::new();
    let service = Stack::new().layer(edge).layer(routes.layer()).around(routes).unwrap();
    TestClient::new(service).allow_header(NAME)
}

#[tokio::test]
async fn each_method_leads_to_its_route() {
    let client = client();
    for (method, path, want) in [
        ("GET", "/orders", "list"),
        ("HEAD", "/orders", "list"),
        ("POST", "/orders", "order"),
        ("PUT", "/orders/7", "change"),
        ("DELETE", "/orders/7", "change"),
        ("GET", "/hook", "hook"),
        ("HEAD", "/hook", "hook"),
        ("OPTIONS", "/hook", "hook"),
        ("PURGE", "/hook", "hook"),
        ("GET", "/mixed", "read"),
        ("HEAD", "/mixed", "read"),
        ("POST", "/mixed", "rest"),
        ("OPTIONS", "/mixed", "rest"),
        ("HEAD", "/own", "own HEAD"),
        ("OPTIONS", "/own", "own OPTIONS"),
        ("GET", "/files", "files"),
        ("HEAD", "/files", "files"),
        ("PATCH", "/files", "patch"),
    ] {
        let answer = client.request(method.parse().unwrap(), path).send().await;
        assert_eq!(answer.header(NAME), Some(want), "{method} {path}");
    }
}

#[tokio::test]
async fn another_method_is_405_and_options_is_answered_both_with_the_sorted_methods() {
    let client = client();
    for (path, wrong, allow) in [
        ("/orders", "PATCH", "GET, HEAD, OPTIONS, POST"),
        ("/orders", "get", "GET, HEAD, OPTIONS, POST"),
        ("/orders/7", "GET", "DELETE, OPTIONS, PUT"),
        ("/orders/7", "HEAD", "DELETE, OPTIONS, PUT"),
        ("/files", "POST", "GET, HEAD, OPTIONS, PATCH"),
        ("/files/a", "PATCH", "GET, HEAD, OPTIONS"),
    ] {
        let answer = client.request(wrong.parse().unwrap(), path).send().await;
        answer.assert_status(405).assert_problem("method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{wrong} {path}");

        let answer = client.options(path).send().await;
        answer.assert_status(204);
        assert_eq!(answer.header("allow"), Some(allow), "OPTIONS {path}");
        assert_eq!(answer.header(NAME), None, "the endpoint is not called");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    let answer = client.request(Method::TRACE, "/own").send().await;
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn options_of_the_server_as_a_whole() {
    let client = client();
    client.options("*").send().await.assert_status(204);
    client.options("/nothing").send().await.assert_problem("route-not-found");
    client.get("*").send().await.assert_problem("target-invalid");
}

#[test]
fn methods_say_what_they_include() {
    let these = |methods: &[Method]| Methods::These(methods.to_vec());
    for (methods, text, get, head, put) in [
        (Methods::Any, "*", true, true, true),
        (these(&[Method::GET]), "GET", true, true, false),
        (these(&[Method::HEAD]), "HEAD", false, true, false),
        (these(&[Method::PUT, Method::PATCH]), "PUT,PATCH", false, false, true),
        (these(&[]), "", false, false, false),
    ] {
        assert_eq!(methods.to_string(), text);
        let found = [Method::GET, Method::HEAD, Method::PUT].map(|method| methods.include(&method));
        assert_eq!(found, [get, head, put], "{text}");
    }
    assert_eq!(Methods::from(Method::GET), these(&[Method::GET]));
}

#[tokio::test]
async fn a_table_without_routes_has_nothing() {
    let routes = Routes::<(), _>::builder().build().unwrap();
    assert!(routes.table().is_empty());
    let inner = crate::support::unreachable();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).service(inner);
    let client = TestClient::new(stack.unwrap());
    for method in [Method::GET, Method::OPTIONS, Method::POST] {
        let answer = client.request(method, "/").send().await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
}
