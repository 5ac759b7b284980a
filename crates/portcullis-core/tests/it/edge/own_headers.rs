//! Nobody but us writes headers with our prefix.
use portcullis_core::EdgeLayer;
use portcullis_testkit::TestClient;
use tower::Layer;

use crate::support::{WithHeaders, telling, trusting};

#[tokio::test]
async fn our_prefix_is_dropped_in_every_spelling_and_nothing_else_is() {
    let application = telling(|_, request| {
        let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        names.join(" ")
    });
    let edge = EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]));
    let client = TestClient::new(edge.layer(application));
    for (header, kept) in [
        ("X-Portcullis-A", false),
        ("x-portcullis-", false),
        ("x_portcullis_a", false),
        ("x_portcullis-a", false),
        ("x-portcullis.b", false),
        ("X.Portcullis-Skip", false),
        ("X.PORTCULLIS_USER", false),
        ("x-portcullis", true),
        ("x-portcullisa", true),
        ("y-x-portcullis-a", true),
        ("x-user", true),
        ("x_user", true),
        ("x-original-url", true),
    ] {
        // Not even a trusted hop may write them.
        for peer in ["192.0.2.1", "10.0.0.1"] {
            let lines = [(header, "root"), (header, "admin"), ("x-other", "1")];
            let answer = client.get("/").headers(&lines).peer_at(peer).send().await;
            let mut seen = answer.text().split_whitespace();
            let lower = header.to_ascii_lowercase();
            assert_eq!(seen.any(|name| name == lower), kept, "{header}: {}", answer.text());
            assert!(answer.text().contains("x-other"), "{header}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn several_of_them_are_all_dropped() {
    let application = telling(|_, request| request.headers().len().to_string());
    let client = TestClient::new(EdgeLayer::new().layer(application));
    let lines = [
        ("x-portcullis-a", "1"),
        ("x_portcullis_a", "2"),
        ("x.portcullis.a", "3"),
        ("x-portcullis-b", "4"),
    ];
    // The host stays.
    assert_eq!(client.get("/").headers(&lines).send().await.text(), "1");
}
