//! Who is counted together.
use portcullis_core::{EdgeLayer, Identity, TrustedProxies};
use portcullis_ratelimit::{Key, RateLimitLayer, per_hour};
use portcullis_testkit::{
    AsUser, FakeTime, StubAuthenticateLayer, TestClient, as_service, as_user,
};
use tower::ServiceBuilder;

use crate::support::{Endpoint, client_of, peer};

#[tokio::test]
async fn by_address_those_of_one_network_share() {
    for (what, first, second, share) in [
        ("one address", "192.0.2.1", "192.0.2.1", true),
        ("two addresses", "192.0.2.1", "192.0.2.2", false),
        ("IPv4 in the clothes of IPv6", "192.0.2.1", "::ffff:192.0.2.1", true),
        ("two of those", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("one /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
        ("two /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false),
        // Neither is ::ffff:0:0/96 one bucket, nor do its addresses meet those of ::/64.
        ("an IPv4 address and ::/64", "192.0.2.1", "::c000:201", false),
        ("within ::/64", "::1", "::2", true),
    ] {
        let time = FakeTime::new();
        let layer = RateLimitLayer::before_authentication().everywhere(per_hour(1));
        let client = client_of(&layer, &time);
        client.get("/").peer(peer(first)).send().await.assert_status(200);
        let answer = client.get("/").peer(peer(second)).send().await;
        assert_eq!(answer.status() == 429, share, "{what}");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_counts_and_not_the_proxy() {
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let layers = ServiceBuilder::new()
        .layer(EdgeLayer::new().trusted_proxies(proxies))
        .layer(RateLimitLayer::before_authentication().everywhere(per_hour(1)))
        .into_inner();
    let time = FakeTime::new();
    let client = client_of(&layers, &time);
    for (what, from, forwarded, status) in [
        ("a client", "10.0.0.1", "203.0.113.1", 200),
        ("another client of the proxy", "10.0.0.1", "203.0.113.2", 200),
        ("the first once more", "10.0.0.1", "203.0.113.1", 429),
        ("the first through another proxy", "10.9.9.9", "203.0.113.1", 429),
        ("the first through two proxies", "10.0.0.1", "203.0.113.1, 10.9.9.9", 429),
        ("the first, which claims to be somebody", "10.0.0.1", "198.51.100.7, 203.0.113.1", 429),
        ("one IPv6 client", "10.0.0.1", "2001:db8::1", 200),
        ("its neighbour", "10.0.0.1", "2001:db8::2", 429),
        ("the first, without a proxy", "203.0.113.1", "198.51.100.8", 429),
    ] {
        let request = client.get("/").peer(peer(from)).header("x-forwarded-for", forwarded);
        assert_eq!(request.send().await.status(), status, "{what}");
    }
}

#[tokio::test]
async fn by_identity_the_whole_key_counts() {
    let of = |issuer: &str, subject: &str| AsUser::from(Identity::builder(issuer, subject));
    let time = FakeTime::new();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(per_hour(1).by(Key::Identity)))
        .into_inner();
    let client = client_of(&layers, &time);
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    let rows: [(&str, &str, Option<AsUser>, u16); 15] = [
        ("alice", here, Some(as_user("alice")), 200),
        ("alice again", here, Some(as_user("alice")), 429),
        ("alice from another address", there, Some(as_user("alice")), 429),
        (
            "alice with roles and a plan",
            here,
            Some(as_user("alice").roles(["root"]).plan("pro")),
            429,
        ),
        ("a service of that name", here, Some(as_service("alice")), 429),
        ("bob at the same address", here, Some(as_user("bob")), 200),
        ("alice of a tenant", here, Some(as_user("alice").tenant("acme")), 200),
        ("alice of another tenant", here, Some(as_user("alice").tenant("emca")), 200),
        ("the first tenant's again", there, Some(as_user("alice").tenant("acme")), 429),
        ("alice of another issuer", here, Some(of("https://id.example", "alice")), 200),
        ("and again", there, Some(of("https://id.example", "alice")), 429),
        // The parts of a key do not run together.
        ("issuer and subject shifted", here, Some(of("testa", "lice")), 200),
        ("nobody, where all the others were", here, None, 200),
        ("nobody there again", here, None, 429),
        ("nobody elsewhere", there, None, 200),
    ];
    for (what, from, caller, status) in rows {
        let request = client.get("/").peer(peer(from));
        let answer = match caller {
            Some(caller) => request.as_user(caller).send().await,
            None => request.send().await,
        };
        assert_eq!(answer.status(), status, "{what}");
    }
}

#[tokio::test]
async fn by_address_it_does_not_matter_who_asks() {
    let time = FakeTime::new();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(per_hour(1).by(Key::Address)));
    let client = TestClient::new(layers.service(Endpoint::default())).clock(time.clock());
    client.get("/").peer(peer("192.0.2.1")).as_user("alice").send().await.assert_status(200);
    client.get("/").peer(peer("192.0.2.1")).as_user("bob").send().await.assert_status(429);
    client.get("/").peer(peer("192.0.2.2")).as_user("alice").send().await.assert_status(200);
}

#[tokio::test]
async fn alone_and_without_authentication_an_identity_quota_counts_by_address() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::in_memory().everywhere(per_hour(1).by(Key::Identity));
    let client = client_of(&layer, &time);
    for (from, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)] {
        client.get("/").peer(peer(from)).send().await.assert_status(status);
    }
}
