//! What one client after the other gets.
use std::time::Duration;

use http::Request;
use portcullis_cache::{CacheLayer, Preset, Purge};
use portcullis_core::{Body, Identity};

use crate::support::{Origin, Site, asking, get, in_turn, of, response};

#[tokio::test]
async fn an_answer_says_where_it_comes_from_and_how_old_it_is() {
    let site = Site::new(Origin::saying(&[("cache-control", "max-age=60")], "a book"));
    assert_eq!(
        site.get("/book").await.status_of_cache(),
        "portcullis; fwd=uri-miss; fwd-status=200; stored"
    );
    site.time.advance(Duration::from_secs(10));
    let got = site.get("/book").await;
    assert_eq!((got.status_of_cache(), got.header("age")), ("portcullis; hit; ttl=50", "10"));
    site.time.advance(Duration::from_secs(60));
    assert!(site.get("/book").await.status_of_cache().contains("fwd=stale"));
    let none = site.fetch(asking("GET", "/other", &[("cache-control", "only-if-cached")])).await;
    assert_eq!((none.status.as_u16(), none.status_of_cache()), (504, "portcullis; fwd=uri-miss"));
    assert_eq!(site.origin.count(), 2);
}

#[tokio::test]
async fn stored_answers_serve_heads_ranges_and_conditions() {
    let site = Site::new(Origin::saying(
        &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
        "0123456789",
    ));
    site.get("/digits").await;
    let head = site.fetch(asking("HEAD", "/digits", &[])).await;
    assert!(head.is_hit() && head.body.is_empty(), "{head:?}");
    let same = site.fetch(asking("GET", "/digits", &[("if-none-match", "\"1\"")])).await;
    assert!(same.is_hit() && same.status == 304 && same.body.is_empty(), "{same:?}");
    let part = site.fetch(asking("GET", "/digits", &[("range", "bytes=2-4")])).await;
    assert_eq!(
        (part.status.as_u16(), &*part.body, part.header("content-range")),
        (206, &b"234"[..], "bytes 2-4/10")
    );
    let parts = site.fetch(asking("GET", "/digits", &[("range", "bytes=0-0,-2")])).await;
    assert_eq!(parts.status, 206);
    let kind = parts.header("content-type").to_owned();
    let boundary =
        kind.strip_prefix("multipart/byteranges; boundary=").expect("it says where parts end");
    let text = String::from_utf8(parts.body.to_vec()).unwrap();
    assert!(
        text.contains("bytes 0-0/10\r\n\r\n0\r\n") && text.contains("bytes 8-9/10\r\n\r\n89\r\n"),
        "{text}"
    );
    assert!(text.trim_end().ends_with(&format!("--{}--", boundary.trim_matches('"'))), "{text}");
    let none = site.fetch(asking("GET", "/digits", &[("range", "bytes=99-")])).await;
    assert_eq!((none.status.as_u16(), none.header("content-range")), (416, "bytes */10"));
    assert_eq!(site.origin.count(), 1);
}

#[tokio::test]
async fn what_is_stale_is_asked_about_and_kept_where_it_is_still_good() {
    let site = Site::new(in_turn(vec![
        || {
            response(
                200,
                &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("x-old", "1")],
                "a book",
            )
        },
        || response(304, &[("cache-control", "max-age=20"), ("etag", "\"1\""), ("x-new", "2")], ""),
    ]));
    site.get("/book").await;
    site.time.advance(Duration::from_secs(15));
    // The client's own condition is answered from what is stored then.
    let got = site.fetch(asking("GET", "/book", &[("if-none-match", "\"other\"")])).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, &b"a book"[..]));
    assert_eq!((got.header("x-old"), got.header("x-new")), ("1", "2"));
    let (_, asked) = site.origin.seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!(asked.get("if-none-match").unwrap(), "\"1\"");
    site.time.advance(Duration::from_secs(15));
    assert!(site.get("/book").await.is_hit());
}

#[tokio::test]
async fn what_changes_something_takes_out_what_is_stored() {
    let site = Site::new(Origin::new(|request: Request<Body>| async move {
        match request.method().as_str() {
            "GET" => response(200, &[("cache-control", "max-age=60")], "a book"),
            "DELETE" => response(500, &[], ""),
            _ => response(
                200,
                &[("location", "/made"), ("content-location", "http://other.example/x")],
                "",
            ),
        }
    }));
    for path in ["/book", "/made"] {
        site.get(path).await;
        assert!(site.get(path).await.is_hit());
    }
    // What fails has changed nothing.
    site.fetch(asking("DELETE", "/book", &[])).await;
    assert!(site.get("/book").await.is_hit());
    site.fetch(asking("POST", "/book", &[])).await;
    assert!(!site.get("/book").await.is_hit());
    assert!(!site.get("/made").await.is_hit());
}

#[tokio::test]
async fn purges_take_out_what_they_name_also_what_is_on_its_way() {
    let site = Site::new(Origin::saying(
        &[("cache-control", "max-age=60"), ("surrogate-key", "books book-1")],
        "a book",
    ));
    let cache = site.layer.handle();
    let all = [
        Purge::url("http://shop.example/book"),
        Purge::prefix("http://shop.example/"),
        Purge::tag("book-1"),
        Purge::everything(),
    ];
    for purge in all {
        site.get("/book").await;
        let hit = site.get("/book").await;
        assert!(hit.is_hit() && hit.header("surrogate-key").is_empty(), "{hit:?}");
        cache.purge(purge.clone()).await.unwrap();
        assert!(!site.get("/book").await.is_hit(), "{purge:?}");
    }
    // The answer comes after the purge, and was asked for before it.
    let answer = site.send(get("/other")).await;
    cache.purge(Purge::tag("books")).await.unwrap();
    crate::support::Got::of(answer).await;
    assert!(!site.get("/other").await.is_hit());
}

#[tokio::test]
async fn a_query_is_stored_by_what_it_asks() {
    let site = Site::new(Origin::new(|request: Request<Body>| async move {
        let asked = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        let text = format!("answer to {}", String::from_utf8_lossy(&asked));
        response(200, &[("cache-control", "max-age=60")], &text)
    }));
    let query = |what: &'static str| {
        let (parts, _) = asking("QUERY", "/search", &[("content-type", "text/plain")]).into_parts();
        Request::from_parts(parts, Body::from(what))
    };
    for what in ["cats", "dogs"] {
        assert_eq!(site.fetch(query(what)).await.body, format!("answer to {what}"));
        let again = site.fetch(query(what)).await;
        assert!(again.is_hit() && again.body == format!("answer to {what}"), "{again:?}");
    }
    assert!(!site.get("/search").await.is_hit());
}

#[tokio::test]
async fn queries_that_do_not_matter_are_one() {
    let headers =
        &[("cache-control", "max-age=60"), ("no-vary-search", "key-order, params=(\"utm\")")];
    let site = Site::new(Origin::saying(headers, "found"));
    site.get("/search?a=1&b=2&utm=x").await;
    for path in ["/search?b=2&a=1", "/search?a=1&b=2&utm=y"] {
        assert!(site.get(path).await.is_hit(), "{path}");
    }
    assert!(!site.get("/search?a=2&b=2").await.is_hit());
}

#[tokio::test]
async fn what_was_made_for_one_caller_reaches_no_other() {
    let site = Site::new(Origin::new(|request: Request<Body>| async move {
        let context = portcullis_core::Context::get(request.extensions()).unwrap();
        let who =
            context.identity().map_or("nobody".to_owned(), |identity| identity.key().to_string());
        response(200, &[("cache-control", "max-age=60")], &who)
    }));
    let ada = Identity::builder("keys", "ada").build();
    let admin = Identity::builder("keys", "ada").role("admin").build();
    let eve = Identity::builder("keys", "eve").build();
    for _ in 0..2 {
        for identity in [&ada, &eve, &admin] {
            let got = site.fetch(of(identity, &site.time, get("/me"))).await;
            assert_eq!(got.body, identity.key().to_string());
        }
        assert_eq!(site.get("/me").await.body, "nobody");
    }
    // Each of the four once: other rights are another caller.
    assert_eq!(site.origin.count(), 4);
}

#[tokio::test]
async fn credentials_that_nobody_looked_at_are_somebodys() {
    for credentials in [("authorization", "Bearer x"), ("cookie", "session=x")] {
        let site = Site::new(Origin::saying(&[("cache-control", "max-age=60")], "yours"));
        for _ in 0..2 {
            assert!(!site.fetch(asking("GET", "/me", &[credentials])).await.is_hit());
        }
        // Nor do they get what was made for nobody.
        site.get("/me").await;
        assert!(site.get("/me").await.is_hit());
        assert!(
            !site.fetch(asking("GET", "/me", &[credentials])).await.is_hit(),
            "{credentials:?}"
        );
        let site =
            Site::new(Origin::saying(&[("cache-control", "public, max-age=60")], "everybody's"));
        site.fetch(asking("GET", "/news", &[credentials])).await;
        assert!(
            site.get("/news").await.is_hit()
                && site.fetch(asking("GET", "/news", &[credentials])).await.is_hit()
        );
    }
}

#[tokio::test]
async fn cookies_are_set_once_unless_every_clause_of_the_standard_is_asked_for() {
    let origin =
        || Origin::saying(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], "hello");
    let site = Site::new(origin());
    site.get("/").await;
    assert!(!site.get("/").await.is_hit());
    let site = Site::with(CacheLayer::in_memory(1 << 20).preset(Preset::Rfc), origin());
    site.get("/").await;
    let got = site.get("/").await;
    assert!(got.is_hit() && got.header("set-cookie") == "a=b", "{got:?}");
}

#[tokio::test]
async fn a_get_with_a_body_goes_by_the_cache() {
    let site = Site::new(Origin::saying(&[("cache-control", "max-age=60")], "a book"));
    let with_body = || {
        let (parts, _) = get("/book").into_parts();
        Request::from_parts(parts, Body::from("poison"))
    };
    site.fetch(with_body()).await;
    assert!(!site.get("/book").await.is_hit());
    assert!(!site.fetch(with_body()).await.is_hit());
}
