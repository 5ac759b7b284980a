//! Which route a path leads to.
use http::Method;
use portcullis_core::route::RoutesBuilder;
use portcullis_core::{EdgeLayer, Routes, Stack, TargetRules};
use portcullis_testkit::TestClient;

use crate::support::{Endpoint, NAME, named};

/// A client of the endpoints, which says where each path leads.
async fn leads(
    routes: Routes<Endpoint>,
    table: impl IntoIterator<Item = (&'static str, &'static str)>,
) {
    let edge = EdgeLayer::new();
    let service = Stack::new().layer(edge).layer(routes.layer()).around(routes).unwrap();
    let client = TestClient::new(service).allow_header(NAME);
    for (path, want) in table {
        let answer = client.get(path).send().await;
        let found = answer.header(NAME).or(answer.problem()).unwrap_or("neither");
        assert_eq!(found, want, "{path}");
    }
}

#[tokio::test]
async fn static_wins_over_parameter_over_catch_all_whatever_the_order() {
    let specific = |builder: RoutesBuilder<Endpoint, _>| {
        builder
            .get("/books/new", named("new"))
            .public()
            .get("/books/new/{*rest}", named("below new"))
            .public()
            .get("/books/{id}/pages", named("pages"))
            .public()
    };
    let general = |builder: RoutesBuilder<Endpoint, _>| {
        builder
            .get("/{*rest}", named("anything"))
            .public()
            .get("/books/{id}", named("book"))
            .public()
    };
    for builder in [general(specific(Routes::builder())), specific(general(Routes::builder()))] {
        let table = [
            ("/books/new", "new"),
            ("/books/newer", "book"),
            ("/books/7", "book"),
            ("/books/new/", "below new"),
            ("/books/7/pages", "pages"),
            ("/books/new/pages", "below new"),
            ("/books/7/pages/1", "anything"),
            ("/books/7/", "anything"),
            ("/films/7", "anything"),
            ("/books", "anything"),
            ("/books/", "anything"),
            ("/", "anything"),
            ("/bookshop", "anything"),
            ("/books../admin", "anything"),
            ("/BOOKS/new", "anything"),
        ];
        leads(builder.build().unwrap(), table).await;
    }
}

#[test]
fn a_parameter_and_a_catch_all_in_one_place_are_a_conflict_told_at_start() {
    for (one, other) in [
        ("/books/{id}", "/books/{*rest}"),
        ("/books/{*rest}", "/books/{id}"),
        ("/books/{id}/pages", "/books/{*rest}"),
        ("/{*rest}", "/{id}"),
        ("/books/{a}", "/books/{b}"),
        ("/books/{*a}", "/books/{*b}"),
    ] {
        let routes = Routes::builder().get(one, ()).public().get(other, ()).public();
        let text = routes.build().unwrap_err().to_string();
        assert!(text.contains(&format!("it matches the same paths as `{one}`")), "{text}");
    }
}

#[tokio::test]
async fn a_catch_all_begins_at_its_bare_prefix() {
    let routes = Routes::builder()
        .get("/books/{*rest}", named("books"))
        .public()
        .get("/{shop}/orders/{*rest}", named("orders"))
        .public()
        .build();
    let table = [
        ("/books/7/8", "books"),
        ("/books/", "books"),
        ("/books", "books"),
        ("/a/orders/7", "orders"),
        ("/a/orders/", "orders"),
        ("/a/orders", "orders"),
        ("/a/order", "route-not-found"),
        ("/bookss", "route-not-found"),
        ("/", "route-not-found"),
    ];
    leads(routes.unwrap(), table).await;
    let routes = Routes::builder().get("/{*rest}", named("all")).public().build();
    leads(routes.unwrap(), [("/", "all"), ("/a", "all"), ("/a/b/", "all")]).await;
}

#[tokio::test]
async fn a_route_for_the_bare_prefix_itself_wins() {
    let routes = Routes::builder()
        .get("/books/{*rest}", named("below"))
        .public()
        .get("/books", named("all books"))
        .public()
        .build();
    let table = [("/books", "all books"), ("/books/", "below"), ("/books/7", "below")];
    leads(routes.unwrap(), table).await;
}

#[tokio::test]
async fn paths_are_compared_in_their_one_spelling() {
    let routes = Routes::builder()
        .get("/admin/{*rest}", named("admin"))
        .public()
        .get("/public/{*rest}", named("public"))
        .public()
        .get("/caf%C3%A9", named("cafe"))
        .public()
        .build();
    let table = [
        ("/public/../admin/x", "admin"),
        ("/public/%2e%2e/admin/x", "admin"),
        ("/%61dmin/x", "admin"),
        ("/./admin/./x", "admin"),
        ("/caf%c3%a9", "cafe"),
        ("/pub../admin", "route-not-found"),
        ("/admin%23/public/a", "route-not-found"),
        ("/admin%3Fx", "route-not-found"),
        ("/admin/x?y=/public/", "admin"),
        ("/public/x?y=/admin/", "public"),
        ("/public/..%2fadmin/x", "target-invalid"),
        ("//admin/x", "target-invalid"),
        ("/admin;x", "target-invalid"),
    ];
    leads(routes.unwrap(), table).await;
}

#[tokio::test]
async fn another_spelling_that_leads_to_another_route_is_refused() {
    let routes = Routes::builder()
        .get("/users/@me", named("me"))
        .public()
        .get("/users/{id}", named("user"))
        .public()
        .get("/a:b/{*rest}", named("a:b"))
        .public()
        .get("/{x}/y", named("x"))
        .public()
        .build();
    let table = [
        ("/users/@me", "me"),
        ("/users/%40me", "target-invalid"),
        ("/users/%40you", "user"),
        ("/users/@you", "user"),
        ("/users/%25me", "user"),
        ("/a:b/y", "a:b"),
        ("/a%3ab/y", "target-invalid"),
        ("/a%3Ab/z", "route-not-found"),
    ];
    leads(routes.unwrap(), table).await;
}

#[tokio::test]
async fn an_encoded_slash_is_no_border_of_segments() {
    let routes = Routes::builder()
        .get("/files/{name}", named("file"))
        .public()
        .get("/files/{dir}/{name}", named("nested"))
        .public()
        .build()
        .unwrap();
    let edge = EdgeLayer::new().target_rules(TargetRules::strict().allow_encoded_slash());
    let service = Stack::new().layer(edge).layer(routes.layer()).around(routes).unwrap();
    let client = TestClient::new(service).allow_header(NAME);
    for (path, want) in [("/files/a%2Fb", "file"), ("/files/a/b", "nested")] {
        assert_eq!(client.get(path).send().await.header(NAME), Some(want), "{path}");
    }
}

#[test]
fn templates_that_cannot_be_are_told_all_at_once() {
    let errors = Routes::builder()
        .get("books", ())
        .public()
        .get("/books/*", ())
        .public()
        .get("/books/**", ())
        .public()
        .get("/books/:id", ())
        .public()
        .get("/books/{id", ())
        .public()
        .get("/books/{}", ())
        .public()
        .get("/books/{*}", ())
        .public()
        .get("/a/../b", ())
        .public()
        .get("/caf\u{e9}", ())
        .public()
        .get("/%7Euser", ())
        .public()
        .get("/a//b", ())
        .public()
        .get("/a%2Fb/{id}", ())
        .public()
        .get("", ())
        .public()
        .get("/x/{a}", ())
        .public()
        .post("/x/{b}", ())
        .public()
        .get("/twice", ())
        .public()
        .on(Method::GET, "/twice", ())
        .authenticated()
        .name("it")
        .get("/named", ())
        .public()
        .name("it")
        .build()
        .unwrap_err();
    let text = errors.to_string();
    for wanted in [
        "route `GET books`: a template begins with `/`",
        "route `GET /books/*`: `*` and `:` match only themselves",
        "route `GET /books/**`: `*` and `:` match only themselves",
        "route `GET /books/:id`: `*` and `:` match only themselves",
        "route `GET /books/{id`: `{` has no `}`",
        "route `GET /books/{}`: `{}` is no parameter",
        "route `GET /books/{*}`: `{*}` is no parameter",
        "route `GET /a/../b`: the template can match no request, since paths are normalised first (`/b`)",
        "route `GET /caf\u{e9}`: the template can match no request",
        "route `GET /%7Euser`: the template can match no request",
        "route `GET /a//b`: the template can match no request",
        "route `GET `: a template begins with `/`",
        "route `/x/{b}`: it matches the same paths as `/x/{a}`",
        "route `GET /twice`: `GET /twice` has a route already",
        "route `it`: the name stands twice",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
    assert!(!text.contains("/a%2Fb"), "a listener may allow it:\n{text}");
    assert_eq!(errors.iter().len(), 15, "{text}");
}
