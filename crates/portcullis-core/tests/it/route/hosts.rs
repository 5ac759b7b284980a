//! Hosts and conditions: which of several routes with one path a request gets.
use http::HeaderName;
use portcullis_core::{EdgeLayer, RouteMatch, Routes, Stack};
use portcullis_testkit::TestClient;

use crate::support::{Endpoint, NAME, WithHeaders, named};

type Headers = &'static [(&'static str, &'static str)];

/// Where a request leads that is made of a method, a URI and headers.
async fn leads(routes: Routes<Endpoint>, table: &[(&str, &str, Headers, &str)]) {
    let layer = routes.layer();
    let service = Stack::new().layer(EdgeLayer::new()).layer(layer).around(routes).unwrap();
    let client = TestClient::new(service).allow_header(NAME);
    for (method, uri, headers, want) in table {
        let request = client.request(method.parse().unwrap(), *uri).headers(headers);
        let answer = request.peer_at("192.0.2.1").send().await;
        let found = answer.header(NAME).or(answer.problem()).unwrap_or("neither");
        assert_eq!(found, *want, "{method} {uri} {headers:?}");
    }
}

#[tokio::test]
async fn the_more_exact_host_is_asked_first_and_the_next_one_where_it_has_no_route() {
    let routes = Routes::builder()
        .get("/", named("every host"))
        .public()
        .get("/", named("below example"))
        .host("*.example")
        .public()
        .get("/", named("below shop"))
        .host("*.shop.example")
        .public()
        .get("/", named("shop"))
        .host("shop.example")
        .host("store.example")
        .public()
        .post("/only", named("post below example"))
        .host("*.example")
        .public()
        .get("/only", named("get anywhere"))
        .public()
        .build()
        .unwrap();
    let none: Headers = &[];
    leads(
        routes,
        &[
            ("GET", "http://elsewhere.test/", none, "every host"),
            ("GET", "http://example/", none, "every host"),
            ("GET", "http://a.example/", none, "below example"),
            ("GET", "http://shop.example/", none, "shop"),
            ("GET", "http://store.example/", none, "shop"),
            ("GET", "http://SHOP.example.:8080/", none, "shop"),
            ("GET", "http://a.shop.example/", none, "below shop"),
            ("GET", "http://a.b.shop.example/", none, "below shop"),
            ("GET", "http://notshop.example/", none, "below example"),
            ("GET", "http://shop.example.evil.test/", none, "every host"),
            ("GET", "http://a.example/only", none, "get anywhere"),
            ("POST", "http://a.example/only", none, "post below example"),
            ("POST", "http://elsewhere.test/only", none, "method-not-allowed"),
            ("GET", "http://shop.example/missing", none, "route-not-found"),
        ],
    )
    .await;
}

#[tokio::test]
async fn more_conditions_win_and_who_meets_none_gets_the_plain_route() {
    let beta = || RouteMatch::default().header(HeaderName::from_static("x-beta"), Some("yes"));
    let routes = Routes::builder()
        .get("/", named("plain"))
        .public()
        .get("/", named("beta"))
        .matching(beta())
        .public()
        .get("/", named("beta v2"))
        .matching(beta().query("version", Some("2")))
        .public()
        .get("/", named("office"))
        .matching(RouteMatch::default().client_in(["10.0.0.0/8".parse().unwrap()]))
        .public()
        .get("/lab", named("lab"))
        .matching(RouteMatch::default().query("open", None))
        .public()
        .any("/any", named("any"))
        .matching(beta())
        .public()
        .get("/any", named("get"))
        .public()
        .build()
        .unwrap();
    let beta: Headers = &[("x-beta", "yes")];
    leads(
        routes,
        &[
            ("GET", "/", &[], "plain"),
            ("GET", "/", &[("x-beta", "no")], "plain"),
            ("GET", "/", beta, "beta"),
            ("HEAD", "/", beta, "beta"),
            ("GET", "/?version=2", beta, "beta v2"),
            ("GET", "/?a=b&version=%32", beta, "beta v2"),
            ("GET", "/?version=22", beta, "beta"),
            ("GET", "/?version=2", &[], "plain"),
            ("GET", "/lab", &[], "route-not-found"),
            ("GET", "/lab?open", &[], "lab"),
            ("POST", "/lab?open", &[], "method-not-allowed"),
            // A method that is named wins over a condition.
            ("GET", "/any", beta, "get"),
            ("POST", "/any", beta, "any"),
            ("POST", "/any", &[], "route-not-found"),
        ],
    )
    .await;
}

#[test]
fn routes_that_nothing_tells_apart_are_an_error() {
    let beta = || RouteMatch::default().header(HeaderName::from_static("x-beta"), None);
    let errors = Routes::builder()
        .get("/a", ())
        .host("a.example")
        .public()
        .get("/a", ())
        .host("A.example.")
        .public()
        .get("/b", ())
        .matching(beta())
        .public()
        .get("/b", ())
        .matching(beta())
        .public()
        .get("/c", ())
        .host("a.example:80")
        .public()
        .build()
        .unwrap_err()
        .to_string();
    for wanted in [
        "route `GET /a`: `GET /a` at a.example has a route already",
        "route `GET /b`: `GET /b` has a route already",
        "route `GET /c`: `a.example:80` is no host",
    ] {
        assert!(errors.contains(wanted), "no `{wanted}` in:\n{errors}");
    }
}
