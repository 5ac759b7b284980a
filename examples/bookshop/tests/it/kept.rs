//! What the shop keeps, what takes it out, and what is never kept.
use std::time::Duration;

use bookshop::DEMO_KEYS;
use portcullis_testkit::TestResponse;
use serde_json::{Value, json};

use crate::shop::{Browser, Shop};

fn key(name: &str) -> &'static str {
    DEMO_KEYS.iter().find(|demo| demo.name == name).unwrap().key
}

/// Whether the cache answered; `None` where it had no say.
fn hit(answer: &TestResponse) -> Option<bool> {
    let status = answer.header("cache-status")?;
    let hit = status.split(';').any(|parameter| parameter.trim() == "hit");
    assert_ne!(hit, status.contains("fwd="), "{status}");
    Some(hit)
}

/// How many copies of a book are ordered, and whether the cache said so.
async fn ordered(browser: &mut Browser, book: i64) -> (i64, bool) {
    let answer = browser.get(&format!("/books/{book}")).await;
    answer.assert_status(200);
    (answer.json_value()["ordered"].as_i64().unwrap(), hit(&answer).expect("a cache"))
}

async fn order(browser: &mut Browser, key: &str, book: i64, quantity: i64) -> Value {
    let json = json!({ "book": book, "quantity": quantity }).to_string();
    let body = Some(("application/json", json));
    let answer = browser.ask("POST", "/orders", &[("x-api-key", key)], body).await;
    answer.assert_status(201);
    answer.json_value()
}

#[tokio::test]
async fn the_catalogue_is_kept_for_everybody() {
    let shop = Shop::new().await;
    let mut ada = shop.customer("ada@acme.example").await;
    for path in ["/books", "/books?author=austen", "/books/7", "/catalogue/authors"] {
        let first = shop.browser().get(path).await;
        assert_eq!((first.status().as_u16(), hit(&first)), (200, Some(false)), "{path}");
        // Whoever asks: a stranger, somebody with a key, somebody with a session.
        for who in 0..3 {
            let again = match who {
                0 => shop.browser().get(path).await,
                1 => shop.browser().ask("GET", path, &[("x-api-key", key("carl"))], None).await,
                _ => ada.get(path).await,
            };
            assert_eq!(hit(&again), Some(true), "{path} {who}");
            assert_eq!(again.text(), first.text(), "{path}");
            assert_eq!(again.header("set-cookie"), None);
            let control = again.header("cache-control").unwrap();
            assert!(control.starts_with("public, max-age=0, s-maxage=300"), "{control}");
        }
        // What is asked differently is something else.
        let other = if path.contains('?') { "&x" } else { "?x" };
        let answer = shop.browser().get(&format!("{path}{other}")).await;
        assert_eq!(hit(&answer), Some(false), "{path}");
    }
}

#[tokio::test]
async fn an_order_takes_out_what_shows_its_book_and_nothing_else() {
    let shop = Shop::new().await;
    let (mut reader, mut clerk) = (shop.browser(), shop.browser());
    for book in [7, 8] {
        assert_eq!(ordered(&mut reader, book).await, (0, false));
        assert_eq!(ordered(&mut reader, book).await, (0, true));
    }
    // The list is the fifty oldest.
    let list = reader.get("/books").await.json_value();
    let shown = list[0]["id"].as_i64().unwrap();
    assert_eq!(hit(&reader.get("/books").await), Some(true));

    let number = order(&mut clerk, key("carl"), 7, 3).await["id"].as_i64().unwrap();
    assert_eq!(ordered(&mut reader, 7).await, (3, false));
    assert_eq!(ordered(&mut reader, 7).await, (3, true));
    assert_eq!(ordered(&mut reader, 8).await, (0, true));

    // So does the end of one.
    let path = format!("/orders/{number}");
    let answer = clerk.ask("DELETE", &path, &[("x-api-key", key("carl"))], None).await;
    answer.assert_status(204);
    assert_eq!(ordered(&mut reader, 7).await, (0, false));

    // Lists and searches that show the book are taken out with it.
    assert_eq!(hit(&reader.get("/books").await), Some(true));
    order(&mut clerk, key("carl"), shown, 2).await;
    let answer = reader.get("/books").await;
    assert_eq!((hit(&answer), &answer.json_value()[0]["ordered"]), (Some(false), &json!(2)));

    // An order that is refused takes out nothing.
    let body = json!({ "book": shown, "quantity": 1_000 }).to_string();
    let body = Some(("application/json", body));
    let refused = clerk.ask("POST", "/orders", &[("x-api-key", key("carl"))], body).await;
    refused.assert_status(422);
    assert_eq!(hit(&reader.get("/books").await), Some(true));
}

#[tokio::test]
async fn what_is_kept_ends_after_five_minutes() {
    let shop = Shop::new().await;
    let mut reader = shop.browser();
    for (wait, kept) in [(0, false), (299, true), (2, false), (298, true)] {
        shop.time.advance(Duration::from_secs(wait));
        assert_eq!(ordered(&mut reader, 7).await, (0, kept), "{wait}");
    }
}

#[tokio::test]
async fn without_a_database_the_catalogue_is_there_for_an_hour() {
    let shop = Shop::new().await;
    let mut reader = shop.browser();
    reader.get("/books/7").await.assert_status(200);
    shop.time.advance(Duration::from_mins(50));
    shop.store.close().await;
    reader.get("/books/7").await.assert_status(200);
    reader.get("/books/8").await.assert_status(500).assert_problem("internal-error");
    shop.time.advance(Duration::from_secs(1_000));
    reader.get("/books/7").await.assert_status(500).assert_problem("internal-error");
}

#[tokio::test]
async fn what_is_somebodys_is_never_kept() {
    let shop = Shop::new().await;
    let mut ada = shop.customer("ada@acme.example").await;
    let mut bob = shop.customer("bob@acme.example").await;
    let body = json!({ "book": 3, "quantity": 2 });
    ada.post("/orders", body).await.assert_status(201);
    for path in ["/", "/me", "/orders", "/orders/1", "/account/sessions", "/account/keys"] {
        for _ in 0..2 {
            for (who, browser) in [("ada", &mut ada), ("bob", &mut bob)] {
                let answer = browser.get(path).await;
                assert_ne!(hit(&answer), Some(true), "{path} {who}");
                let control = answer.header("cache-control").unwrap_or_default();
                assert!(!control.contains("public"), "{path}: {control}");
            }
        }
    }
    // Each has their own.
    for path in ["/me", "/account/sessions"] {
        let (hers, his) = (ada.get(path).await, bob.get(path).await);
        assert_ne!(hers.text(), his.text(), "{path}");
    }
    assert_eq!(bob.get("/orders").await.json_value(), json!([]));
    bob.get("/orders/1").await.assert_status(404);
    // Nor what is refused: a stranger's 401 is not for those who may.
    let mut stranger = shop.browser();
    stranger.get("/orders").await.assert_status(401);
    ada.get("/orders").await.assert_status(200);
    stranger.get("/orders").await.assert_status(401);
}
