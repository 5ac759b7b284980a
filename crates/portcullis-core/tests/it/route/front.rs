//! What a route asks the route layer to see to: networks, the size of bodies, and how long they may take.
use http::Method;
use ipnet::IpNet;
use portcullis_core::route::{MaxBody, OnlyFrom, Streaming};
use portcullis_core::{
    BodyLimit, ConfigErrors, Connection, EdgeLayer, RouteExt, Routes, Stack, TrustedProxies, public,
};
use portcullis_testkit::{Contract, TestClient, get};
use tower::{Layer, ServiceBuilder};

use crate::support::{NAME, WithHeaders, from, named, telling, trusting, unreachable};

fn nets<const N: usize>(networks: [&str; N]) -> [IpNet; N] {
    networks.map(|network| network.parse().unwrap())
}

/// Routes that differ in whom they are open to.
fn guarded() -> Routes<crate::support::Endpoint> {
    let routes = Routes::builder()
        .get("/admin", named("admin"))
        .public()
        .only_from(nets(["127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:7::/48"]))
        .get("/nobody", named("nobody"))
        .public()
        .only_from([])
        .get("/all", named("all"))
        .public();
    routes.build().unwrap()
}

/// What answers a GET of `path` from `peer`, with these headers: an endpoint, or a problem.
async fn answer(
    proxies: TrustedProxies,
    (peer, path): (&str, &str),
    headers: &[(&'static str, &'static str)],
) -> String {
    let routes = guarded();
    let stack = Stack::new().layer(EdgeLayer::new().trusted_proxies(proxies)).layer(routes.layer());
    let client = TestClient::new(stack.around(routes).unwrap()).allow_header(NAME);
    let answer = client.get(path).headers(headers).peer_at(peer).send().await;
    let problem = answer.problem().map(|slug| format!("{} {slug}", answer.status().as_u16()));
    problem.unwrap_or_else(|| answer.header(NAME).unwrap().to_owned())
}

const REFUSED: &str = "403 address-not-allowed";

#[tokio::test]
async fn a_route_is_open_only_to_its_networks() {
    for (peer, path, want) in [
        ("127.0.0.1", "/admin", "admin"),
        ("127.9.9.9", "/admin", "admin"),
        ("::1", "/admin", "admin"),
        ("::ffff:10.1.2.3", "/admin", "admin"),
        ("2001:db8:7:1::5", "/admin", "admin"),
        ("2001:db8:8::5", "/admin", REFUSED),
        ("192.0.2.7", "/admin", REFUSED),
        ("11.0.0.1", "/admin", REFUSED),
        ("::2", "/admin", REFUSED),
        ("", "/admin", REFUSED),
        ("127.0.0.1", "/nobody", REFUSED),
        ("192.0.2.7", "/all", "all"),
        ("", "/all", "all"),
    ] {
        let answer = answer(TrustedProxies::none(), (peer, path), &[]).await;
        assert_eq!(answer, want, "{path} from `{peer}`");
    }
}

#[tokio::test]
async fn what_a_client_says_about_its_address_opens_nothing() {
    let local = ["127.0.0.1", "::1", "[::1]", "10.0.0.1", "127.0.0.1, 192.0.2.7"];
    let names = [
        "x-real-ip",
        "x-forwarded-for",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-originating-ip",
    ];
    for name in names {
        for value in local {
            for peer in ["192.0.2.7", ""] {
                let answer =
                    answer(TrustedProxies::none(), (peer, "/admin"), &[(name, value)]).await;
                assert_eq!(answer, REFUSED, "{name}: {value} from `{peer}`");
            }
        }
    }
    for value in ["for=127.0.0.1", "for=\"[::1]\"", "for=127.0.0.1;by=127.0.0.1"] {
        let peer = ("192.0.2.7", "/admin");
        assert_eq!(answer(TrustedProxies::none(), peer, &[("forwarded", value)]).await, REFUSED);
    }
    let all =
        [("x-real-ip", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "::1")];
    assert_eq!(answer(TrustedProxies::none(), ("192.0.2.7", "/admin"), &all).await, REFUSED);
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_address_of_the_client() {
    let proxy = || trusting(&["203.0.113.0/24"]);
    for (forwarded_for, want) in [
        ("10.1.2.3", "admin"),
        ("192.0.2.7", REFUSED),
        // What the client wrote stands to the left of what the proxy added.
        ("127.0.0.1, 192.0.2.7", REFUSED),
        ("192.0.2.7, 10.1.2.3", "admin"),
        // The proxy itself is no client that the list names.
        ("garbage", REFUSED),
    ] {
        let headers = [("x-forwarded-for", forwarded_for)];
        let answer = answer(proxy(), ("203.0.113.9", "/admin"), &headers).await;
        assert_eq!(answer, want, "{forwarded_for}");
    }
    // A peer whom the list names, and who is no proxy, speaks only for itself.
    let headers = [("x-forwarded-for", "192.0.2.7")];
    assert_eq!(answer(proxy(), ("10.1.2.3", "/admin"), &headers).await, "admin");
}

#[tokio::test]
async fn a_client_that_is_elsewhere_reaches_nobody_further_in_and_is_told_nothing() {
    let routes = guarded();
    let layers = ServiceBuilder::new().layer(EdgeLayer::new()).layer(routes.layer());
    let client = TestClient::new(layers.service(unreachable()));
    let answer = client.get("/admin").peer_at("192.0.2.7").send().await;
    answer.assert_status(403).assert_problem("address-not-allowed");
    assert!(!answer.text().contains("192.0.2") && !answer.text().contains("10.0.0"));
    let problem = answer.extensions().get::<portcullis_core::Problem>().unwrap();
    let cause = problem.cause_error().unwrap().to_string();
    assert_eq!(cause, "192.0.2.7 is not in [127.0.0.0/8, ::1/128, 10.0.0.0/8, 2001:db8:7::/48]");
    // A preflight travels under the route that it asks about.
    let preflight = client.options("/admin").header("origin", "https://evil.example");
    let preflight = preflight.header("access-control-request-method", "GET");
    let answer = preflight.peer_at("192.0.2.7").send().await;
    answer.assert_status(403).assert_problem("address-not-allowed");

    Contract::new(routes.layer())
        .passes(|| get("/admin").connection(from("10.0.0.7")).build())
        .refuses(|| get("/admin").connection(from("192.0.2.7")).build())
        .check()
        .await;
}

#[tokio::test]
async fn the_route_changes_the_limits_of_the_body_before_anybody_reads_it() {
    let routes = Routes::builder()
        .post("/plain", ())
        .public()
        .post("/large", ())
        .public()
        .body_limit(5 << 30)
        .post("/none", ())
        .rule(public().body_limit(0))
        .post("/stream", ())
        .public()
        .streaming()
        .post("/both", ())
        .rule(public().streaming().body_limit(7))
        .post("/again", ())
        .public()
        .body_limit(1)
        .body_limit(2)
        .build()
        .unwrap();
    let application = telling(|context, _| {
        let limit = context.body_limit();
        format!("{} {}", limit.get(), limit.is_rate_lifted())
    });
    let client = TestClient::new(routes.layer().layer(application));
    for (path, bytes, lifted) in [
        ("/plain", 100, false),
        ("/large", 5 << 30, false),
        ("/none", 0, false),
        ("/stream", 100, true),
        ("/both", 7, true),
        ("/again", 2, false),
    ] {
        // The server's own limit, which it will look at when the first byte is read.
        let limit = BodyLimit::new(100);
        let request = client.post(path).connection(Connection::new(None));
        let answer = request.extension(limit.clone()).send().await;
        assert_eq!(answer.text(), format!("{bytes} {lifted}"), "{path}");
        assert_eq!((limit.get(), limit.is_rate_lifted()), (bytes, lifted), "{path}");
    }
    // Without a server that has a limit there is nothing to be held to, and nothing that fails.
    assert_eq!(client.post("/large").send().await.text(), format!("{} false", 5_u64 << 30));
}

#[test]
fn the_route_layer_reads_these_options_and_others_can_ask_for_them() -> Result<(), ConfigErrors> {
    let routes = Routes::builder()
        .any("/", ())
        .public()
        .body_limit(7)
        .streaming()
        .only_from(nets(["10.0.0.0/8"]))
        .build()?;
    Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).service(())?;
    let route = routes.table().route(0).unwrap();
    assert!(route.methods().include(&Method::PUT));
    assert_eq!(route.options().get::<MaxBody>().map(|limit| limit.bytes()), Some(7));
    assert_eq!(route.options().get::<OnlyFrom>().unwrap().networks(), nets(["10.0.0.0/8"]));
    assert!(route.options().get::<Streaming>().is_some());
    Ok(())
}
