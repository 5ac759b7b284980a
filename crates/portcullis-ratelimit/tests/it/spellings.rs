//! Nobody gets a second bucket by what a client can choose: addresses of its network, headers, methods.
use http::Method;
use portcullis_core::{EdgeLayer, TrustedProxies};
use portcullis_ratelimit::{Key, RateLimitLayer, per_hour};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, TestClient, as_user};
use tower::{Layer, ServiceBuilder};

use crate::support::{Endpoint, answer, asking, client_of, peer};

#[test]
fn all_addresses_of_a_network_have_one_bucket() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(10));
    let mut service = layer.layer(Endpoint::default());
    let mut admitted = 0;
    for number in 0..=u16::MAX {
        // Scattered over all of the lower half.
        let (high, low) = (number.wrapping_mul(40_503), number.rotate_left(7));
        let address = format!("2001:db8:7:7:{high:x}:{number:x}:{low:x}:{:x}", !number);
        admitted += u32::from(answer(&mut service, asking(&address, &time)).status() == 200);
    }
    assert_eq!(admitted, 10);
    // The next network has its own.
    assert_eq!(answer(&mut service, asking("2001:db8:7:8::1", &time)).status(), 200);
}

#[tokio::test]
async fn a_header_that_changes_with_each_request_is_held_by_the_address() {
    let time = FakeTime::new();
    let name = http::HeaderName::from_static("x-api-client");
    let layer = RateLimitLayer::before_authentication()
        .everywhere(per_hour(2).by(Key::Header(name)))
        .everywhere(per_hour(20));
    let client = client_of(&layer, &time);
    let mut admitted = 0;
    for number in 0..200 {
        let request = client.get("/").peer(peer("192.0.2.1"));
        let answer = request.header("x-api-client", number.to_string()).send().await;
        admitted += u32::from(answer.status() == 200);
    }
    assert_eq!(admitted, 20);
}

#[tokio::test]
async fn who_leaves_a_header_out_is_counted_by_the_address() {
    let time = FakeTime::new();
    let name = http::HeaderName::from_static("x-api-client");
    let layer =
        RateLimitLayer::before_authentication().everywhere(per_hour(1).by(Key::Header(name)));
    let client = client_of(&layer, &time);
    for (what, from, value, status) in [
        ("without", "192.0.2.1", None, 200),
        ("again", "192.0.2.1", None, 429),
        ("mapped", "::ffff:192.0.2.1", None, 429),
        ("another address", "192.0.2.2", None, 200),
        ("with one", "192.0.2.1", Some("a"), 200),
        ("the same elsewhere", "192.0.2.9", Some("a"), 429),
        ("empty is a value", "192.0.2.1", Some(""), 200),
        ("empty elsewhere", "192.0.2.9", Some(""), 429),
        ("one that looks like an address", "192.0.2.1", Some("192.0.2.1"), 200),
    ] {
        let request = client.get("/").peer(peer(from));
        let request = match value {
            Some(value) => request.header("x-api-client", value),
            None => request,
        };
        assert_eq!(request.send().await.status(), status, "{what}");
    }
}

#[tokio::test]
async fn methods_and_claims_of_forwarding_change_nothing() {
    let time = FakeTime::new();
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let layers = ServiceBuilder::new()
        .layer(EdgeLayer::new().trusted_proxies(proxies))
        .layer(RateLimitLayer::before_routing().everywhere(per_hour(1)))
        .into_inner();
    let client = client_of(&layers, &time);
    client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(200);
    for method in [Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::DELETE] {
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.1"),
            ("forwarded", "for=203.0.113.1"),
            ("x-real-ip", "203.0.113.1"),
            ("cf-connecting-ip", "203.0.113.1"),
            ("true-client-ip", "203.0.113.1"),
        ] {
            let request = client.request(method.clone(), "/").peer(peer("192.0.2.1"));
            assert_eq!(request.header(name, value).send().await.status(), 429, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn where_there_is_no_tenant_the_identity_counts_and_then_the_address() {
    let time = FakeTime::new();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(per_hour(1).by(Key::Tenant)));
    let client = TestClient::new(layers.service(Endpoint::default())).clock(time.clock());
    for (what, from, who, status) in [
        ("a tenant", "192.0.2.1", Some(as_user("alice").tenant("acme")), 200),
        ("another of it", "192.0.2.2", Some(as_user("bob").tenant("acme")), 429),
        ("another tenant", "192.0.2.1", Some(as_user("alice").tenant("emca")), 200),
        ("without a tenant", "192.0.2.1", Some(as_user("alice")), 200),
        ("the same elsewhere", "192.0.2.2", Some(as_user("alice")), 429),
        ("who is called as the tenant is", "192.0.2.1", Some(as_user("acme")), 200),
        ("nobody", "192.0.2.1", None, 200),
        ("nobody again", "192.0.2.1", None, 429),
        ("nobody elsewhere", "192.0.2.2", None, 200),
    ] {
        let request = client.get("/").peer(peer(from));
        let answer = match who {
            Some(who) => request.as_user(who).send().await,
            None => request.send().await,
        };
        assert_eq!(answer.status(), status, "{what}");
    }
}

#[tokio::test]
async fn keys_that_are_put_together_do_not_run_into_each_other() {
    let time = FakeTime::new();
    let header = |name| Key::Header(http::HeaderName::from_static(name));
    let quota = per_hour(1).by([header("x-a"), header("x-b")]);
    let layer = RateLimitLayer::before_authentication().everywhere(quota);
    let client = client_of(&layer, &time);
    for (a, b, status) in [
        ("a", "bc", 200),
        ("ab", "c", 200),
        ("abc", "", 200),
        ("", "abc", 200),
        ("a", "bc", 429),
        ("bc", "a", 200),
        ("", "abc", 429),
    ] {
        let request = client.get("/").peer(peer("192.0.2.1"));
        let answer = request.header("x-a", a).header("x-b", b).send().await;
        assert_eq!(answer.status(), status, "{a:?} {b:?}");
    }
}
