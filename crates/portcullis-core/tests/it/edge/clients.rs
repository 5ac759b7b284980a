//! Who the client is, and how it spoke: as the connection says, unless a trusted proxy knows better.
use std::sync::Arc;

use portcullis_core::{EdgeLayer, Tls, TrustedProxies};
use portcullis_testkit::TestClient;
use tower::{Layer, Service};

use crate::support::{WithHeaders, from, telling, trusting, unreachable};

type Lines = &'static [(&'static str, &'static str)];

/// An application that tells client, scheme and host, behind an edge that trusts `proxies`.
fn client(
    proxies: TrustedProxies,
) -> TestClient<
    impl Service<
        http::Request<portcullis_core::Body>,
        Response = http::Response<portcullis_core::Body>,
        Error = std::convert::Infallible,
    > + Clone,
> {
    let application = telling(|context, _| {
        let target = context.target().unwrap();
        let client = context.client().map_or("nobody".to_owned(), |client| {
            format!("{client}{}", if client.is_forwarded() { " forwarded" } else { "" })
        });
        format!("{client} {}://{}", target.scheme().as_str(), target.authority())
    });
    TestClient::new(EdgeLayer::new().trusted_proxies(proxies).layer(application))
}

const SPOOFED: Lines = &[
    ("x-forwarded-for", "1.2.3.4"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
    ("x-real-ip", "127.0.0.1"),
];
const STANDARD: Lines = &[("forwarded", "for=1.2.3.4;proto=https;host=evil.example")];

#[tokio::test]
async fn nobody_is_trusted_unasked() {
    let client = client(TrustedProxies::none());
    for peer in ["192.0.2.1", "127.0.0.1", "::1", "10.0.0.9", "192.168.1.1", "fe80::1", ""] {
        for lines in [SPOOFED, STANDARD] {
            let answer = client.get("/").headers(lines).peer_at(peer).send().await;
            let peer = if peer.is_empty() { "nobody" } else { peer };
            assert_eq!(answer.text(), format!("{peer} http://test.example"));
        }
    }
    let answer = client.get("/").peer_at("::ffff:192.0.2.1").send().await;
    assert_eq!(answer.text(), "192.0.2.1 http://test.example", "IPv4 in the clothes of IPv6");
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_how_it_spoke() {
    let proxies = trusting(&["10.0.0.0/8", "::1/128"]);
    for (name, peer, lines, want) in [
        ("the old headers", "10.0.0.1", SPOOFED, "1.2.3.4 forwarded https"),
        ("the standard header", "10.0.0.1", STANDARD, "1.2.3.4 forwarded https"),
        ("by IPv6", "::1", STANDARD, "1.2.3.4 forwarded https"),
        ("a stranger", "192.0.2.1", SPOOFED, "192.0.2.1 http"),
        ("nothing said", "10.0.0.1", &[], "10.0.0.1 http"),
        (
            "the right-most that is not trusted",
            "10.0.0.1",
            &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.2")],
            "1.2.3.4 forwarded http",
        ),
        (
            "of several elements",
            "10.0.0.1",
            &[("forwarded", "for=6.6.6.6;proto=https"), ("forwarded", "for=\"[2001:db8::7]:80\"")],
            "2001:db8::7 forwarded http",
        ),
        ("a hidden client", "10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1 http"),
        ("an unknown scheme", "10.0.0.1", &[("x-forwarded-proto", "wss")], "10.0.0.1 http"),
    ] {
        let (names, hosts) = (client(proxies.clone()), client(proxies.clone().with_host()));
        let answer = names.get("/").headers(lines).peer_at(peer).send().await;
        assert_eq!(answer.text(), format!("{want}://test.example"), "{name}");
        let host = if want.ends_with("https") { "evil.example" } else { "test.example" };
        let answer = hosts.get("/").headers(lines).peer_at(peer).send().await;
        assert_eq!(answer.text(), format!("{want}://{host}"), "{name}, host too");
    }
}

#[tokio::test]
async fn forwarding_headers_that_contradict_each_other_are_refused() {
    let edge = EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]));
    let client = TestClient::new(edge.layer(unreachable()));
    for (name, lines) in [
        ("two clients", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")] as Lines),
        ("one hides, one names", &[("forwarded", "for=_h"), ("x-forwarded-for", "1.2.3.4")]),
        ("not to be read", &[("forwarded", "for=\"6.6.6.6")]),
        ("a parameter twice", &[("forwarded", "for=6.6.6.6;for=1.2.3.4")]),
    ] {
        let answer = client.get("/").headers(lines).peer_at("10.0.0.1").send().await;
        answer.assert_status(400).assert_problem("forwarding-ambiguous");
        assert!(answer.headers().contains_key("x-request-id"), "{name}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{name}");
    }
}

#[tokio::test]
async fn a_host_that_a_trusted_proxy_says_is_checked_like_any_other() {
    let edge = EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]).with_host());
    let client = TestClient::new(edge.layer(unreachable()));
    for host in ["user@shop.example", "shop.example/admin", "shop.example:99999"] {
        let request = client.get("/").header("x-forwarded-host", host).peer_at("10.0.0.1");
        request.send().await.assert_problem("target-invalid");
    }
}

#[tokio::test]
async fn the_scheme_is_that_of_the_connection_unless_a_trusted_proxy_says_another() {
    let client = client(trusting(&["10.0.0.0/8"]));
    let tls = |ip| from(ip).with_tls(Arc::new(Tls::new().with_server_name("test.example")));
    for (name, connection, proto, want) in [
        ("in clear", from("192.0.2.1"), "", "192.0.2.1 http"),
        ("over TLS", tls("192.0.2.1"), "", "192.0.2.1 https"),
        ("a stranger over TLS says otherwise", tls("192.0.2.1"), "http", "192.0.2.1 https"),
        ("a stranger in clear says otherwise", from("192.0.2.1"), "https", "192.0.2.1 http"),
        ("a proxy in clear", from("10.0.0.1"), "https", "10.0.0.1 https"),
        ("a proxy over TLS for a client in clear", tls("10.0.0.1"), "http", "10.0.0.1 http"),
    ] {
        let request = client.get("/").connection(connection);
        let request =
            if proto.is_empty() { request } else { request.header("x-forwarded-proto", proto) };
        assert_eq!(request.send().await.text(), format!("{want}://test.example"), "{name}");
    }
}
