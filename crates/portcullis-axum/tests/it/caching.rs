//! What handlers say of caching, and what becomes of it behind a stack with a cache.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::Path;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::{Json, Router, routing};
use portcullis_axum::{Caching, Guarded, Tagged, get};
use portcullis_cache::{CacheControl, CacheExt, CacheLayer, Purge};
use portcullis_core::{EdgeLayer, Stack, public};
use portcullis_testkit::{TestClient, TestResponse};

const MINUTE: CacheControl = CacheControl::public().max_age(Duration::from_secs(60));

fn is_hit(answer: &TestResponse) -> bool {
    answer.header("cache-status").is_some_and(|status| status.contains("hit"))
}

#[tokio::test]
async fn a_handler_says_how_long_and_what_it_is_made_of() {
    let book = |Path(id): Path<u32>| async move {
        let tags = Tagged(["books".to_owned(), format!("book-{id}")]);
        (Caching(MINUTE), tags, Json(id))
    };
    // The later one counts, whoever said the other.
    let page =
        || async { ([(CACHE_CONTROL, "public")], Caching(CacheControl::no_store()), "page") };
    let several = || async { (Tagged(["a"]), Tagged(vec!["b", "c"]), "page") };
    let router = Router::new()
        .route("/books/{id}", routing::get(book))
        .route("/page", routing::get(page))
        .route("/several", routing::get(several));
    let client = TestClient::new(router).allow_header("surrogate-key");
    let answer = client.get("/books/7").send().await;
    answer.assert_status(200);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(answer.header("surrogate-key"), Some("books book-7"));
    assert_eq!(answer.text(), "7");
    assert_eq!(client.get("/page").send().await.header("cache-control"), Some("no-store"));
    assert_eq!(client.get("/several").send().await.header("surrogate-key"), Some("a b c"));
}

#[tokio::test]
async fn what_no_purge_could_name_is_an_error_of_the_application() {
    let page = || async { (Caching(MINUTE), Tagged(["two words"]), "page").into_response() };
    let client = TestClient::new(Router::new().route("/", routing::get(page)));
    let answer = client.get("/").send().await;
    answer.assert_status(500).assert_problem("internal-error");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("surrogate-key"), None);
}

#[tokio::test]
async fn routes_that_say_so_are_cached_and_others_are_not() {
    let asked = Arc::new(AtomicU32::new(0));
    let number = move || async move {
        (Caching(MINUTE), Tagged(["numbers"]), asked.fetch_add(1, Relaxed).to_string())
    };
    let api = Guarded::new().route("/cached", get(number.clone()), public().cached());
    let api = api.route("/other", get(number), public());
    let cache = CacheLayer::in_memory(1 << 20);
    let handle = cache.handle();
    let stack =
        Stack::new().layer(EdgeLayer::default()).layer(api.route_layer()).layer(cache).around(api);
    let client = TestClient::new(stack.unwrap()).allow_header("surrogate-key");
    for (path, want, hit) in [
        ("/cached", "0", false),
        ("/cached", "0", true),
        ("/other", "1", false),
        ("/other", "2", false),
    ] {
        let answer = client.get(path).send().await;
        assert_eq!((answer.text(), is_hit(&answer)), (want, hit), "{path}");
    }
    handle.purge(Purge::tag("numbers")).await.unwrap();
    assert_eq!(client.get("/cached").send().await.text(), "3");
}

#[test]
fn a_route_that_is_cached_where_nobody_caches_is_an_error() {
    let api = Guarded::new().route("/", get(|| async {}), public().cached());
    let stack = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer());
    let text = stack.around(api).unwrap_err().to_string();
    assert!(text.contains("no layer of the stack reads its `cache` option"), "{text}");
}

#[tokio::test]
async fn a_plain_router_gains_a_cache_by_one_line() {
    let asked = Arc::new(AtomicU32::new(0));
    let number = move || async move { (Caching(MINUTE), asked.fetch_add(1, Relaxed).to_string()) };
    let router = Router::new().route("/", routing::get(number));
    // With its state, as `axum::serve` gives it: until then axum puts layers on anew for each request.
    let router = router.layer(CacheLayer::in_memory(1 << 20)).with_state(());
    let client = TestClient::new(router);
    for (want, hit) in [("0", false), ("0", true), ("0", true)] {
        let answer = client.get("/").send().await;
        assert_eq!((answer.text(), is_hit(&answer)), (want, hit));
    }
}
