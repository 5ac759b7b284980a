//! A whole existing router below a prefix, with one access for all of it.
use axum::Router;
use axum::routing::get;
use http::{Method, Uri};
use portcullis_axum::Guarded;
use portcullis_core::{authenticated, public};
use portcullis_testkit::TestClient;

use crate::support::{Decide, client};

/// The router as it was before anybody guarded it.
fn legacy() -> Router {
    let tell = |uri: Uri| async move { format!("inside: {uri}") };
    Router::new()
        .route("/", get(tell).post(tell))
        .route("/books/{id}", get(tell))
        .route("/files/{*rest}", get(tell))
}

#[tokio::test]
async fn inside_the_prefix_is_cut_off_and_nothing_else() {
    for rule in [public().restricted(), authenticated()] {
        let api = Guarded::new().nest("/legacy", legacy(), rule);
        let client = client(api, Decide::Allow).foreign_errors();
        for (path, want) in [
            ("/legacy/books/7", "inside: /books/7"),
            ("/legacy/books/7?x=%2F&y", "inside: /books/7?x=%2F&y"),
            ("/legacy/files/a/b", "inside: /files/a/b"),
            ("/legacy/files/legacy/b", "inside: /files/legacy/b"),
            ("/legacy/./x/../books/%37", "inside: /books/7"),
            ("/legacy", "inside: /"),
            ("/legacy?x=1", "inside: /?x=1"),
        ] {
            let answer = client.get(path).send().await;
            answer.assert_status(200);
            assert_eq!(answer.text(), want, "{path}");
        }
        assert_eq!(client.post("/legacy").send().await.text(), "inside: /");
        // What is not there is the router's own affair.
        for (method, path, status) in [
            (Method::GET, "/legacy/nothing", 404),
            (Method::GET, "/legacy/books", 404),
            (Method::POST, "/legacy/books/7", 405),
            (Method::PUT, "/legacy", 405),
        ] {
            let answer = client.request(method.clone(), path).send().await;
            assert_eq!((answer.status().as_u16(), answer.problem()), (status, None), "{path}");
        }
        // What is beside it is ours.
        for path in ["/legac", "/legacybooks/7", "/", "/legacy../books/7"] {
            client.get(path).send().await.assert_problem("route-not-found");
        }
        client.get("/legacy//books/7").send().await.assert_problem("target-invalid");
    }
}

#[tokio::test]
async fn its_own_fallback_answers_what_is_not_there() {
    let inner = legacy().fallback(|uri: Uri| async move { format!("fallback: {uri}") });
    let api = Guarded::new().nest("/legacy", inner, public());
    let client = client(api, Decide::Nothing);
    for (path, want) in [
        ("/legacy", "inside: /"),
        ("/legacy/books", "fallback: /books"),
        ("/legacy/nothing/at/all?x", "fallback: /nothing/at/all?x"),
    ] {
        assert_eq!(client.get(path).send().await.text(), want, "{path}");
    }
}

#[tokio::test]
async fn the_prefix_with_a_slash_belongs_to_it_but_axum_serves_nothing_there() {
    let api = || Guarded::new().nest("/legacy", legacy().fallback(|| async {}), authenticated());
    let table = api().route_layer().table().clone();
    assert_eq!(table.len(), 1);
    for decide in [Decide::Allow, Decide::Nothing] {
        let answer = client(api(), decide).foreign_errors().get("/legacy/").send().await;
        assert_eq!((answer.status().as_u16(), answer.problem()), (404, None));
    }
}

#[tokio::test]
async fn its_access_holds_for_all_of_it() {
    let fallback = || async { "fallback" };
    let api = || Guarded::new().nest("/legacy", legacy().fallback(fallback), authenticated());
    for path in ["/legacy", "/legacy/books/7", "/legacy/files/a", "/legacy/nothing"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let request = |decide| client(api(), decide).request(method.clone(), path);
            let answer = request(Decide::Nothing).send().await;
            answer.assert_status(500).assert_problem("authorization-missing");
        }
        client(api(), Decide::Allow).get(path).send().await.assert_status(200);
        // By hand, without a stack.
        let by_hand = TestClient::new(api().into_router().unwrap()).get(path);
        by_hand.send().await.assert_problem("authorization-missing");
    }
}

#[tokio::test]
async fn routers_of_routers_and_prefixes_of_several_segments() {
    let inner = Router::new().nest("/v1", legacy());
    let api = Guarded::new()
        .nest("/api/old", inner, authenticated())
        .nest("/api/new", legacy(), public())
        .route("/api", portcullis_axum::get(|| async { "index" }), public());
    let client = client(api, Decide::Allow);
    for (path, want) in [
        ("/api/old/v1/books/7", "inside: /books/7"),
        ("/api/new/books/7", "inside: /books/7"),
        ("/api/new", "inside: /"),
        ("/api", "index"),
    ] {
        assert_eq!(client.get(path).send().await.text(), want, "{path}");
    }
}

#[tokio::test]
async fn a_route_of_its_own_below_the_prefix() {
    let api = || {
        Guarded::new().nest("/legacy", legacy(), authenticated()).route(
            "/legacy/health",
            portcullis_axum::get(|| async { "fine" }),
            public(),
        )
    };
    let closed = client(api(), Decide::Nothing);
    assert_eq!(closed.get("/legacy/health").send().await.text(), "fine");
    closed.get("/legacy/books/7").send().await.assert_problem("authorization-missing");
    let open = client(api(), Decide::Allow);
    assert_eq!(open.get("/legacy/books/7").send().await.text(), "inside: /books/7");
}

#[test]
fn what_overlaps_a_nested_router_is_an_error_and_no_panic() {
    let inner = || Router::<()>::new().route("/x", get(|| async {}));
    let outer = || portcullis_axum::get(|| async {});
    for (api, wanted) in [
        (
            Guarded::new().route("/a/x", outer(), public()).nest("/a", inner(), public()),
            "axum cannot add it: ",
        ),
        (
            Guarded::new().nest("/a", inner(), public()).route("/a/{*rest}", outer(), public()),
            "it lies below `/a`",
        ),
        (
            Guarded::new().nest("/a", inner(), public()).route("/a/{x}", outer(), public()),
            "it lies below `/a`",
        ),
        (
            Guarded::new().nest("/a", inner(), public()).nest("/a/b", inner(), public()),
            "it lies below `/a`",
        ),
    ] {
        let errors = api.into_router().unwrap_err().to_string();
        assert!(errors.contains(wanted), "{errors}");
    }
    // A path of its own beside the router is how a path moves out of it.
    let moved = Guarded::new().route("/a/new", outer(), public()).nest("/a", inner(), public());
    assert!(moved.into_router().is_ok());
}
