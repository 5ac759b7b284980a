//! The router that records who may call what.
use axum::extract::{Path, State};
use http::Method;
use portcullis_axum::{
    Guarded, Handlers, Valid, any, delete, get, head, options, patch, post, put,
};
use portcullis_core::{
    EdgeLayer, RouteExt, Stack, WithOptions, authenticated, optional, public, require,
};
use portcullis_testkit::TestClient;

use crate::support::{Decide, client};

/// The routes of a table, a line each.
fn recorded<S: Clone + Send + Sync + 'static, G: portcullis_core::route::Guardedness>(
    api: &Guarded<S, G>,
) -> Vec<String> {
    let table = api.route_layer().table().clone();
    table.routes().map(|route| format!("{route}: {}", route.access())).collect()
}

#[test]
fn methods_templates_and_access_are_recorded() {
    async fn handler() {}
    let axums = axum::routing::get(handler).post(handler);
    let api: Guarded<(), _> = Guarded::new()
        .route("/get", get(handler), public())
        .route("/books/{id}", get(handler).post(handler), require("books:write"))
        .route("/all", put(handler).patch(handler).delete(handler), authenticated())
        .route("/others", head(handler).options(handler), optional())
        .route("/first", options(handler).head(handler).get(handler), public())
        .route("/put", put(handler), public())
        .route("/patch", patch(handler), public())
        .route("/delete", delete(handler).put(handler), public())
        .route("/post", post(handler), require("x").step_up())
        .route("/any", any(handler), public())
        .route("/axum", axums, public())
        .nest("/legacy", axum::Router::new(), authenticated());
    assert_eq!(
        recorded(&api),
        [
            "GET /get: public",
            "GET,POST /books/{id}: permission books:write",
            "PUT,PATCH,DELETE /all: authenticated",
            "HEAD,OPTIONS /others: optional",
            "OPTIONS,HEAD,GET /first: public",
            "PUT /put: public",
            "PATCH /patch: public",
            "DELETE,PUT /delete: public",
            "POST /post: permission x, step-up",
            "* /any: public",
            "* /axum: public",
            "* /legacy/{*rest}: authenticated",
        ]
    );
    let shown = format!("{api:?}");
    assert!(shown.contains("/books/{id} (permission books:write)"), "{shown}");
}

#[tokio::test]
async fn each_method_reaches_its_handler() {
    let says = |what: &'static str| move || async move { what };
    let axums = axum::routing::get(says("axum GET")).post(says("axum POST"));
    let api = Guarded::new()
        .route("/books", get(says("list")).post(says("add")), public())
        .route("/books/{id}", put(says("put")).delete(says("delete")), public())
        .route("/books/{id}", patch(says("patch")), public())
        .route("/own", get(says("GET")).head(says("HEAD")).options(says("OPTIONS")), public())
        .route("/any", any(says("any")), public())
        .route("/axum", axums, public());
    let client = client(api, Decide::Nothing).foreign_errors();
    for (method, path, status, want) in [
        ("GET", "/books", 200, "list"),
        ("HEAD", "/books", 200, ""),
        ("POST", "/books", 200, "add"),
        ("PUT", "/books/7", 200, "put"),
        ("DELETE", "/books/7", 200, "delete"),
        ("PATCH", "/books/7", 200, "patch"),
        ("OPTIONS", "/own", 200, "OPTIONS"),
        ("GET", "/any", 200, "any"),
        ("PURGE", "/any", 200, "any"),
        ("OPTIONS", "/any", 200, "any"),
        ("GET", "/axum", 200, "axum GET"),
        ("POST", "/axum", 200, "axum POST"),
        // Its methods are its own secret, so axum answers for itself.
        ("PUT", "/axum", 405, ""),
    ] {
        let answer = client.request(method.parse().unwrap(), path).send().await;
        assert_eq!((answer.status().as_u16(), answer.text()), (status, want), "{method} {path}");
    }
    for (path, allow) in [
        ("/books", "GET, HEAD, OPTIONS, POST"),
        ("/books/7", "DELETE, OPTIONS, PATCH, PUT"),
        ("/own", "GET, HEAD, OPTIONS"),
    ] {
        let answer = client.request(Method::TRACE, path).send().await;
        answer.assert_problem("method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    client.get("/nothing").send().await.assert_problem("route-not-found");
    client.get("/books/").send().await.assert_problem("route-not-found");
}

#[tokio::test]
async fn two_routes_on_one_template_keep_their_access_apart() {
    let api = || {
        let both = |Path(id): Path<u32>| async move { format!("book {id}") };
        Guarded::new()
            .route("/books/{id}", get(both), public())
            .route("/books/{id}", post(both), require("books:write"))
            .route("/books/{id}", delete(both), authenticated())
    };
    for (decide, method, status) in [
        (Decide::Nothing, Method::GET, 200),
        (Decide::Nothing, Method::HEAD, 200),
        (Decide::Nothing, Method::POST, 500),
        (Decide::Nothing, Method::DELETE, 500),
        (Decide::Allow, Method::POST, 200),
        (Decide::Allow, Method::DELETE, 200),
        (Decide::Allow, Method::PUT, 405),
    ] {
        let answer = client(api(), decide).request(method.clone(), "/books/7").send().await;
        assert_eq!(answer.status(), status, "{method} {decide:?}");
        if status == 500 {
            answer.assert_problem("authorization-missing");
        }
    }
    // Assembled by hand, without a stack: what nobody has decided about is refused.
    let by_hand = TestClient::new(api().into_router().unwrap());
    by_hand.get("/books/7").send().await.assert_status(200);
    by_hand.post("/books/7").send().await.assert_problem("authorization-missing");
}

#[tokio::test]
async fn axums_own_templates_match_as_axum_does() {
    let tell = |uri: http::Uri| async move { uri.to_string() };
    let api = Guarded::new()
        .route("/files/{*rest}", get(tell), public())
        .route("/books/{id}", get(tell), public())
        .route("/books/new", get(|| async { "new" }), public());
    let client = client(api, Decide::Nothing);
    for (path, want) in [
        ("/files/a/b?x=1", Some("/files/a/b?x=1")),
        ("/files/", None),
        ("/files", None),
        ("/books/7", Some("/books/7")),
        ("/books/new", Some("new")),
        ("/books/../books/%37", Some("/books/7")),
    ] {
        let answer = client.get(path).send().await;
        if let Some(want) = want {
            assert_eq!(answer.text(), want, "{path}");
        } else {
            answer.assert_problem("route-not-found");
        }
    }
}

#[tokio::test]
async fn handlers_get_their_state() {
    #[derive(Clone)]
    struct Shop(&'static str);
    async fn name(State(shop): State<Shop>) -> &'static str {
        shop.0
    }
    let inner = axum::Router::new().route("/name", axum::routing::get(name));
    let api = Guarded::new()
        .route("/name", get(name).post(name), public())
        .nest("/old", inner, public())
        .route("/mine", get(name), authenticated());
    let layer = api.route_layer();
    let api: Guarded<(), _> = api.with_state(Shop("corner"));
    assert!(std::sync::Arc::ptr_eq(layer.table(), api.route_layer().table()), "the same table");
    let client = client(api, Decide::Allow);
    for path in ["/name", "/old/name", "/mine"] {
        assert_eq!(client.get(path).send().await.text(), "corner", "{path}");
    }
    assert_eq!(client.post("/name").send().await.text(), "corner");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    async fn handler() {}
    let again: Handlers = get(handler).get(handler).post(handler).post(handler);
    let api = Guarded::new()
        .route("books", get(handler), public())
        .route("/a/../b", get(handler), public())
        .route("/c/**", get(handler), public())
        .route("/d/:id", get(handler), public())
        .route("/e/{x}", get(handler), public())
        .route("/e/{y}", post(handler), authenticated())
        .route("/f", get(handler), public())
        .route("/f", get(handler).post(handler), authenticated())
        .route("/g", again, public())
        .route("/h", any(handler).get(handler), public())
        .route("/i", any(handler), public())
        .route("/i", get(handler), public())
        .route("/j", post(handler), public())
        .route("/j", axum::routing::get(handler), public())
        .nest("/k/", axum::Router::new(), public())
        .nest("/{l}", axum::Router::new(), public())
        .nest("m", axum::Router::new(), public())
        .nest("", axum::Router::new(), public())
        .nest("/n", axum::Router::new(), public())
        .nest("/n", axum::Router::new(), authenticated());
    let stack = Stack::new().layer(EdgeLayer::new()).layer(api.route_layer()).layer(Decide::Allow);
    let text = stack.around(api).map(drop).unwrap_err().to_string();
    let nest = "a prefix begins with `/`, does not end with one, and has no parameters";
    for wanted in [
        "route `GET books`: a template begins with `/`",
        "route `GET /a/../b`: the template can match no request",
        "route `GET /c/**`: `*` and `:` match only themselves",
        "route `GET /d/:id`: `*` and `:` match only themselves",
        "route `/e/{y}`: it matches the same paths as `/e/{x}`",
        "route `GET,POST /f`: `GET /f` has a route already",
        "route `/g`: POST is said twice",
        "route `/h`: GET is said twice",
        "route `/i`: it stands twice, once with handlers for every method",
        "route `/j`: it stands twice, once with handlers for every method",
        &format!("nest `/k/`: {nest}"),
        &format!("nest `/{{l}}`: {nest}"),
        &format!("nest `m`: {nest}"),
        &format!("nest ``: {nest}"),
        "`* /n` has a route already",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
}

#[test]
fn a_route_that_is_added_after_the_layer_was_taken_makes_another_table() {
    let api = Guarded::new().route("/a", get(|| async {}), public());
    let layer = api.route_layer();
    let stack = || Stack::new().layer(EdgeLayer::new()).layer(layer.clone());
    let late = api.route("/b", get(|| async {}), public());
    let text = stack().around(late).map(drop).unwrap_err().to_string();
    assert!(text.contains("the route layer belongs to another table"), "{text}");

    let nested = Guarded::new().route("/a", get(|| async {}), public());
    let layer = nested.route_layer();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(layer);
    let late = nested.nest("/b", axum::Router::new(), public());
    assert!(stack.around(late).is_err());
}

#[test]
fn an_option_that_no_layer_reads_is_an_error() {
    #[derive(Debug)]
    struct Cost;
    impl portcullis_core::RouteOption for Cost {
        const NAME: &'static str = "cost";
    }
    let api = Guarded::new().route("/a", get(|| async {}), public().with_option(Cost));
    let stack = Stack::new().layer(EdgeLayer::new()).layer(api.route_layer());
    let text = stack.around(api).map(drop).unwrap_err().to_string();
    assert!(
        text.contains("route `GET /a`: no layer of the stack reads its `cost` option"),
        "{text}"
    );
}

#[tokio::test]
async fn the_body_limit_of_a_route_is_that_of_axums_extractors_too() {
    const AXUMS: usize = 2 << 20;
    let length = |Valid(body): Valid<bytes::Bytes>| async move { body.len().to_string() };
    let nested = || axum::Router::new().route("/in", axum::routing::post(length));
    let own = axum::extract::DefaultBodyLimit::max(20);
    let api = Guarded::new()
        .route("/plain", post(length), public())
        .route("/large", post(length), public().body_limit(AXUMS as u64 + 1))
        .route("/small", post(length), public().body_limit(10))
        .route("/none", post(length), public().body_limit(0))
        .route("/any-size", post(length), public().body_limit(u64::MAX))
        .route("/twice", post(length), public().body_limit(10))
        .route("/twice", put(length), public().body_limit(30))
        .nest("/nested", nested(), public().body_limit(10))
        .nest("/own", nested().layer(own), public().body_limit(10));
    let client = client(api, Decide::Nothing);
    for (method, path, most) in [
        (Method::POST, "/plain", AXUMS),
        (Method::POST, "/large", AXUMS + 1),
        (Method::POST, "/small", 10),
        (Method::POST, "/none", 0),
        (Method::POST, "/any-size", AXUMS + 2),
        (Method::POST, "/twice", 10),
        (Method::PUT, "/twice", 30),
        (Method::POST, "/nested/in", 10),
        // What the router says itself stands further in. The server's limit holds all the same.
        (Method::POST, "/own/in", 20),
    ] {
        for (length, fits) in [(most, true), (most + 1, path == "/any-size")] {
            let body = "x".repeat(length);
            let request = client.request(method.clone(), path).body(body);
            let answer = request.send().await;
            let status = if fits { 200 } else { 413 };
            assert_eq!(answer.status(), status, "{method} {path} of {length}");
        }
    }
}

#[tokio::test]
async fn a_route_is_open_only_to_its_networks() {
    let networks: [ipnet::IpNet; 1] = ["127.0.0.0/8".parse().unwrap()];
    let api = || {
        Guarded::new()
            .route("/admin", get(|| async { "admin" }), public().only_from(networks))
            .nest(
                "/old",
                axum::Router::new().fallback(|| async { "old" }),
                public().only_from(networks),
            )
    };
    let by_hand = TestClient::new(api().into_router().unwrap());
    let client = client(api(), Decide::Nothing);
    for path in ["/admin", "/old", "/old/admin"] {
        let local = || client.get(path).peer("127.0.0.1:4711".parse().unwrap());
        local().send().await.assert_status(200);
        let peer = || client.get(path).peer("192.0.2.7:4711".parse().unwrap());
        for (name, value) in [
            ("accept", "*/*"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "::1"),
            ("forwarded", "for=127.0.0.1"),
        ] {
            let answer = peer().header(name, value).send().await;
            answer.assert_status(403).assert_problem("address-not-allowed");
        }
        client.get(path).send().await.assert_problem("address-not-allowed");
        // Without the route layer nobody has looked where the client is.
        let by_hand = by_hand.get(path).peer("127.0.0.1:4711".parse().unwrap());
        by_hand.send().await.assert_status(500).assert_problem("authorization-missing");
    }
}

#[tokio::test]
async fn routes_may_be_added_in_a_loop() {
    let mut api = Guarded::new().restricted();
    for path in ["/a", "/b"] {
        api = api.route(path, get(move || async move { path }), public());
    }
    let client = client(api, Decide::Nothing);
    assert_eq!(client.get("/b").send().await.text(), "/b");
}
