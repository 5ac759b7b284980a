//! Where the stack meets the router: axum matches the very path that was authorized.
use axum::extract::{MatchedPath, Path, RawQuery};
use http::Uri;
use portcullis_axum::{Guarded, get};
use portcullis_core::{EdgeLayer, Stack, TargetRules, authenticated, public, stage};
use portcullis_testkit::TestClient;
use tower::util::MapRequestLayer;

use crate::support::{Decide, client};

fn api() -> Guarded<(), portcullis_core::route::Restricted> {
    let tell = |what: &'static str| {
        move |template: MatchedPath, uri: Uri| async move {
            format!("{what} {} {uri}", template.as_str())
        }
    };
    Guarded::new()
        .route("/public/{*rest}", get(tell("public")), public())
        .route("/admin/{*rest}", get(tell("admin")), authenticated())
        .route("/files/{name}", get(|Path(name): Path<String>| async move { name }), public())
        .route(
            "/query",
            get(|RawQuery(query): RawQuery| async { query.unwrap_or_default() }),
            public(),
        )
}

#[tokio::test]
async fn spellings_of_a_path_lead_where_the_one_spelling_leads() {
    for (path, seen) in [
        ("/public/a", "public /public/{*rest} /public/a"),
        ("/public/%61", "public /public/{*rest} /public/a"),
        ("/admin/x", "admin /admin/{*rest} /admin/x"),
        ("/public/../admin/x", "admin /admin/{*rest} /admin/x"),
        ("/public/%2e%2e/admin/x", "admin /admin/{*rest} /admin/x"),
        ("/public/.%2E/admin/x", "admin /admin/{*rest} /admin/x"),
        ("/%61dmin/x", "admin /admin/{*rest} /admin/x"),
        ("/./admin/./x", "admin /admin/{*rest} /admin/x"),
        (
            "http://test.example/public/../admin/x",
            "admin /admin/{*rest} http://test.example/admin/x",
        ),
    ] {
        let answer = client(api(), Decide::Allow).get(path).send().await;
        assert_eq!(answer.text(), seen, "{path}");
        // The rule of the path that is meant decides.
        let answer = client(api(), Decide::Nothing).get(path).send().await;
        let want = if seen.starts_with("admin") { Some("authorization-missing") } else { None };
        assert_eq!(answer.problem(), want, "{path}");
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_reaches_neither() {
    let client = client(api(), Decide::Allow);
    for (path, slug) in [
        ("/public/..%2fadmin/x", "target-invalid"),
        ("/public%2f..%2fadmin/x", "target-invalid"),
        ("/public/..%5cadmin/x", "target-invalid"),
        ("/public/..;/admin/x", "target-invalid"),
        ("//admin/x", "target-invalid"),
        ("/public//../admin/x", "target-invalid"),
        ("/../admin/x", "target-invalid"),
        ("/admin%00/x", "target-invalid"),
        ("/public../admin/x", "route-not-found"),
        ("/admin%23/x", "route-not-found"),
        ("/ADMIN/x", "route-not-found"),
        ("/admin", "route-not-found"),
    ] {
        client.get(path).send().await.assert_problem(slug);
    }
}

#[tokio::test]
async fn handlers_get_parameters_decoded_and_the_query_as_it_came() {
    let client = client(api(), Decide::Nothing);
    for (path, want) in [
        ("/files/a%20b", "a b"),
        ("/files/caf%C3%A9", "caf\u{e9}"),
        ("/files/100%25", "100%"),
        ("/files/a+b", "a+b"),
        ("/query?x=%2F..%2f&y=a+b", "x=%2F..%2f&y=a+b"),
        ("/query", ""),
    ] {
        assert_eq!(client.get(path).send().await.text(), want, "{path}");
    }
    // Where a listener allows it, an encoded slash is part of the name.
    let api = api();
    let edge = EdgeLayer::new().target_rules(TargetRules::strict().allow_encoded_slash());
    let stack = Stack::new().layer(edge).layer(api.route_layer()).layer(Decide::Nothing);
    let client = TestClient::new(stack.around(api).unwrap());
    assert_eq!(client.get("/files/a%2fb").send().await.text(), "a/b");
}

#[tokio::test]
async fn head_is_answered_by_get_without_its_body() {
    let client = client(api(), Decide::Allow);
    let get = client.get("/public/a").send().await;
    let head = client.head("/public/a").send().await;
    head.assert_status(200);
    assert_eq!(head.text(), "");
    let length = get.bytes().len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[tokio::test]
async fn a_target_that_is_changed_on_the_way_is_refused() {
    for (to, status) in
        [("/admin/x", 500), ("/public/b", 500), ("/public/a?x", 500), ("/public/a", 200)]
    {
        let turn =
            MapRequestLayer::new(move |mut request: http::Request<portcullis_core::Body>| {
                *request.uri_mut() = to.parse().unwrap();
                request
            });
        let api = api();
        let stack = Stack::new()
            .layer(EdgeLayer::new())
            .layer(api.route_layer())
            .layer(Decide::Allow)
            .at(stage::Inner, turn);
        let client = TestClient::new(stack.around(api).unwrap());
        let answer = client.get("/public/a").send().await;
        assert_eq!(answer.status(), status, "{to}");
    }
}
