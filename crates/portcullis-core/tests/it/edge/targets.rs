//! One spelling of the target goes inward; what could be read in two ways is refused.
use http::{Method, Request, StatusCode, Version};
use portcullis_core::{Body, Dialect, EdgeLayer, Target, TargetError, TargetRules};
use portcullis_testkit::{TestClient, TestRequest, request};
use tower::{Layer, ServiceExt};

use crate::support::{from, telling, unreachable};

#[tokio::test]
async fn the_application_sees_the_one_spelling() {
    let application = telling(|context, request| {
        let target = context.target().unwrap();
        assert!(target.matches(request.uri()));
        format!("{} for {}", request.uri(), target.original().unwrap_or(request.uri()))
    });
    let client = TestClient::new(EdgeLayer::new().layer(application));
    for (sent, seen) in [
        ("/", "/"),
        ("/books/7?x=%2F&y=../..;a", "/books/7?x=%2F&y=../..;a"),
        ("/books/%37", "/books/7"),
        ("/books/./7/", "/books/7/"),
        ("/public/../api/me", "/api/me"),
        ("/public/%2e%2E/api/me", "/api/me"),
        ("/pub%2e%2e/admin", "/pub../admin"),
        ("/%61dmin", "/admin"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a|b", "/a%7Cb"),
        ("/a%3ab", "/a%3Ab"),
        ("http://test.example/a/../b", "http://test.example/b"),
        ("http://test.example?q", "http://test.example/?q"),
    ] {
        let answer = client.get(sent).send().await;
        let (uri, original) = answer.text().split_once(" for ").unwrap();
        assert_eq!(uri, seen, "{sent}");
        assert_eq!(original, sent.parse::<http::Uri>().unwrap().to_string(), "{sent}");
    }
    assert_eq!(client.options("*").send().await.text(), "* for *");
}

#[tokio::test]
async fn the_host_has_one_spelling_too() {
    let application = telling(|context, _| context.target().unwrap().authority().to_owned());
    let client = TestClient::new(EdgeLayer::new().layer(application));
    for (sent, seen) in [
        ("shop.example", "shop.example"),
        ("a.B.Example.COM", "a.b.example.com"),
        ("shop.example.", "shop.example"),
        ("shop.example:80", "shop.example"),
        ("shop.example.:80", "shop.example"),
        ("shop.example:8080", "shop.example:8080"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
    ] {
        assert_eq!(client.get("/").host(sent).send().await.text(), seen, "{sent}");
    }
    // The port that need not be said is that of the connection's scheme.
    let tls = from("192.0.2.1").with_tls(std::sync::Arc::default());
    let answer = client.get("/").host("Shop.example:443").connection(tls).send().await;
    assert_eq!(answer.text(), "shop.example");
}

/// `BadQuery` is not among them: the type of a URI admits no control character into a query.
#[tokio::test]
async fn every_error_is_400_with_all_the_headers_of_the_edge() {
    use TargetError as Error;
    let client = TestClient::new(EdgeLayer::new().layer(unreachable()));
    let get = |target: &str| client.get(target);
    for (request, error) in [
        (client.get("*"), Error::NotAbsolute),
        (client.request(Method::CONNECT, "shop.example:443"), Error::NotAbsolute),
        (get("/public/..%2fadmin/x"), Error::EncodedSlash),
        (get("/public%2F..%2Fadmin"), Error::EncodedSlash),
        (get("/%5cadmin"), Error::Backslash),
        (get("/a\\b"), Error::Backslash),
        (get("/a;b"), Error::Parameter),
        (get("/a%3Bb"), Error::Parameter),
        (get("/admin/index%0a"), Error::Control),
        (get("/admin/index%0d"), Error::Control),
        (get("/admin%00"), Error::Control),
        (get("/admin/index%e2%80%a8"), Error::Control),
        (get("/caf\u{e9}"), Error::NotAllowed),
        (get("/100%"), Error::BadEscape),
        (get("/%zz"), Error::BadEscape),
        (get("/%ff"), Error::NotText),
        (get("/.."), Error::AboveRoot),
        (get("/a/%2e%2e/../b"), Error::AboveRoot),
        (get("//admin/secret"), Error::EmptySegment),
        (get("///admin"), Error::EmptySegment),
        (get("/a//b"), Error::EmptySegment),
        (get("ftp://test.example/a"), Error::BadScheme),
        (get("/").header("host", "a.example").header("host", "b.example"), Error::TwoHosts),
        (get("/").host(""), Error::BadHost),
        (get("/").host("a.example, b.example"), Error::BadHost),
        (get("/").host("user@shop.example"), Error::BadHost),
        (get("/").host("shop.example/admin"), Error::BadHost),
        (get("/").host("shop.example:0x50"), Error::BadHost),
        (get("http://a.example/").host("b.example"), Error::HostMismatch),
    ] {
        let name = format!("{request:?}");
        let answer = request.send().await;
        answer.assert_status(400).assert_problem("target-invalid");
        assert_eq!(answer.json_value()["detail"], error.to_string(), "{name}");
        assert_carries_headers_of_the_edge(answer.headers(), &name);
    }
}

/// The client gives every request a host, so this one goes without it.
#[tokio::test]
async fn a_host_is_asked_for_since_http_1_1() {
    for (version, status) in [
        (Version::HTTP_11, StatusCode::BAD_REQUEST),
        (Version::HTTP_2, StatusCode::BAD_REQUEST),
        (Version::HTTP_10, StatusCode::OK),
    ] {
        let edge = EdgeLayer::new().layer(telling(|_, _| String::new()));
        let request = Request::get("/").version(version).body(Body::empty()).unwrap();
        let answer = edge.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{version:?}");
        assert_carries_headers_of_the_edge(answer.headers(), "without a host");
    }
}

fn assert_carries_headers_of_the_edge(headers: &http::HeaderMap, name: &str) {
    for header in
        ["x-request-id", "x-content-type-options", "referrer-policy", "content-security-policy"]
    {
        assert!(headers.contains_key(header), "{name}: no {header}");
    }
}

#[tokio::test]
async fn a_listener_may_read_targets_by_other_rules() {
    let uri = telling(|_, request| request.uri().to_string());
    for (rules, sent, seen) in [
        (TargetRules::strict().allow_encoded_slash(), "/a%2fb", "/a%2Fb"),
        (TargetRules::strict().merge_slashes(), "//a///b", "/a/b"),
        (TargetRules::strict().keep_empty_segments(), "/a//b", "/a//b"),
        (TargetRules::strict().allow_parameters(), "/a;v=1", "/a;v=1"),
    ] {
        let client = TestClient::new(EdgeLayer::new().target_rules(rules).layer(uri.clone()));
        assert_eq!(client.get(sent).send().await.text(), seen, "{sent}");
    }
    let rules = TargetRules::strict().allow_encoded_slash().allow_parameters();
    let client = TestClient::new(EdgeLayer::new().target_rules(rules).layer(unreachable()));
    for hidden in ["/a/..%2fb", "/a/..;/b", "/a/.%2f"] {
        let answer = client.get(hidden).send().await;
        assert_eq!(answer.json_value()["detail"], TargetError::HiddenDots.to_string(), "{hidden}");
    }
}

#[tokio::test]
async fn what_is_refused_is_answered_in_the_dialect_of_the_request() {
    let client = TestClient::new(EdgeLayer::new().layer(unreachable()));
    for (name, value, kind) in [
        ("accept", "application/json", "application/problem+json"),
        ("accept", "text/html", "text/html; charset=utf-8"),
        ("content-type", "application/grpc", "application/grpc"),
    ] {
        let answer = client.post("/a%2Fb").header(name, value).send().await;
        assert_eq!(answer.assert_problem("target-invalid").header("content-type"), Some(kind));
    }
    assert_eq!(client.head("/a%2Fb").send().await.bytes().len(), 0);
}

#[tokio::test]
async fn a_second_edge_is_a_conflict_and_so_is_a_target_of_somebody_else() {
    let two = EdgeLayer::new().layer(EdgeLayer::new().layer(unreachable()));
    TestClient::new(two).get("/").send().await.assert_problem("context-conflict");

    let clock = portcullis_core::Clock::system();
    let with = |target: &str| -> TestRequest { request(Method::GET, target).clock(clock.clone()) };
    let sent = with("/a").build();
    let other = with("/b").build();
    let other = Target::of(&other, portcullis_core::Scheme::Http, None, &TargetRules::strict());
    let context = portcullis_core::Context::get(sent.extensions()).unwrap().clone();
    assert!(context.set_target(other.unwrap()));
    let answer = EdgeLayer::new().layer(unreachable()).oneshot(sent).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(context.problem().unwrap().kind().slug(), "context-conflict");
    assert_eq!(context.dialect(), Dialect::default());
}
