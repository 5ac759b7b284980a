//! Nobody gets a second bucket by spelling a request in another way.
use http::Method;
use portcullis_core::{EdgeLayer, Routes, Stack, TrustedProxies};
use portcullis_ratelimit::{LimitExt, RateLimitLayer, per_hour};
use portcullis_testkit::{FakeTime, TestClient};

use crate::support::{Endpoint, peer};

/// A header, and its values for each try.
type Header<'a> = (&'a str, &'a str);

#[tokio::test]
async fn every_spelling_of_a_request_lands_in_one_bucket() {
    let endpoint = Endpoint::default();
    let routes = Routes::builder()
        .any("/search", endpoint.clone())
        .public()
        .limit("search")
        .build()
        .unwrap();
    let limits = RateLimitLayer::before_authentication().quota("search", per_hour(1));
    // Somebody is trusted, but not this client.
    let edge = EdgeLayer::default()
        .trusted_proxies(TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]).with_host());
    let stack = Stack::new().layer(edge).layer(routes.layer()).layer(limits);
    let time = FakeTime::new();
    let client = TestClient::new(stack.around(routes).unwrap()).clock(time.clock());
    client.get("/search").peer(peer("192.0.2.1")).send().await.assert_status(200);

    let none: &[Header<'_>] = &[];
    let rows: [(Method, &str, &[Header<'_>], u16); 25] = [
        (Method::GET, "/search", none, 429),
        (Method::HEAD, "/search", none, 429),
        (Method::POST, "/search", none, 429),
        (Method::GET, "/search?q=1", none, 429),
        (Method::GET, "/search?", none, 429),
        (Method::GET, "/%73earch", none, 429),
        (Method::GET, "/%73%65%61%72%63%68", none, 429),
        (Method::GET, "/./search", none, 429),
        (Method::GET, "/x/../search", none, 429),
        (Method::GET, "/x/%2e%2E/search", none, 429),
        (Method::GET, "http://test.example/search", none, 429),
        (Method::GET, "http://TEST.example:80/search", none, 429),
        (Method::GET, "/search", &[("host", "TEST.Example")], 429),
        (Method::GET, "/search", &[("host", "test.example:80")], 429),
        (Method::GET, "/search", &[("host", "other.example")], 429),
        (Method::GET, "/search", &[("x-forwarded-for", "203.0.113.1")], 429),
        (Method::GET, "/search", &[("x-forwarded-for", "10.0.0.1")], 429),
        (Method::GET, "/search", &[("forwarded", "for=203.0.113.2")], 429),
        (
            Method::GET,
            "/search",
            &[("x-real-ip", "203.0.113.3"), ("x-client-ip", "203.0.113.3")],
            429,
        ),
        (Method::GET, "/search", &[("x-forwarded-host", "other.example")], 429),
        (Method::GET, "/search", &[("x-http-method-override", "POST")], 429),
        // What could be read in two ways is refused before anybody counts it.
        (Method::GET, "//search", none, 400),
        (Method::GET, "/search;v=1", none, 400),
        (Method::GET, "/x%2f..%2fsearch", none, 400),
        (Method::GET, "/SEARCH", none, 404),
    ];
    for (method, target, headers, status) in rows {
        let request = client.request(method.clone(), target).peer(peer("192.0.2.1"));
        let request = headers.iter().fold(request, |request, (name, value)| match *name {
            "host" => request.host(value),
            name => request.header(name, *value),
        });
        let answer = request.send().await;
        assert_eq!(answer.status(), status, "{method} {target} {headers:?}");
    }
    // The port is the client's to choose, and so are the addresses that it says it forwards for.
    for number in 1..200_u16 {
        let from = std::net::SocketAddr::new(peer("192.0.2.1").ip(), number);
        let claimed = format!("203.0.113.{number}");
        let request = client.get("/search").peer(from).header("x-forwarded-for", claimed);
        request.send().await.assert_status(429);
    }
    assert_eq!(endpoint.calls(), 1);
}
