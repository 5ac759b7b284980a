//! How much somebody may: by address, by plan, by what a request costs; and what pages say about it.
use std::time::Duration;

use bookshop::DEMO_KEYS;
use portcullis_sqlx::{ManagedUsers, Rights};
use portcullis_testkit::TestResponse;

use crate::shop::{Browser, PASSWORD, Shop};

fn key(name: &str) -> &'static str {
    DEMO_KEYS.iter().find(|demo| demo.name == name).unwrap().key
}

async fn by_key(browser: &mut Browser, key: &str, path: &str) -> TestResponse {
    browser.ask("GET", path, &[("x-api-key", key)], None).await
}

/// What an answer says about one limit.
fn field(answer: &TestResponse, limit: &str) -> Option<String> {
    let items = answer.headers().get_all("ratelimit").iter();
    let items = items.flat_map(|value| value.to_str().unwrap().split(", "));
    let own = items.filter(|item| item.starts_with(&format!("\"{limit}\";")));
    own.map(str::to_owned).next()
}

#[tokio::test]
async fn a_page_says_what_is_left_of_the_plan() {
    let shop = Shop::new().await;
    let left = |answer: &TestResponse| {
        let page = answer.text().to_owned();
        let (before, _) = page.split_once(" requests left</small>").expect("a line");
        before.rsplit('>').next().unwrap().to_owned()
    };
    // A stranger counts by address, and has no plan.
    let mut stranger = shop.browser();
    for want in ["59 of 60", "58 of 60", "57 of 60"] {
        assert_eq!(left(&stranger.get("/").await), want);
    }
    assert_eq!(left(&shop.browser().get("/").await), "59 of 60");
    for (name, want) in [("rita", "59 of 60"), ("rita", "58 of 60"), ("carl", "599 of 600")] {
        // Wherever they are.
        let answer = by_key(&mut shop.browser(), key(name), "/").await;
        assert_eq!(left(&answer), want, "{name}");
    }
    // Somebody who registered, before and after they got a plan.
    let mut ada = shop.customer("ada@acme.example").await;
    assert!(left(&ada.get("/").await).ends_with(" of 60"));
    let mut rights = Rights::default();
    rights.plan = Some("trade".to_owned());
    let users = shop.store.stores().users().await.unwrap();
    users.set_rights(&shop.id_of("ada@acme.example").await, &rights).await.unwrap();
    ada.log_in("ada@acme.example", PASSWORD).await.assert_status(200);
    assert!(left(&ada.get("/").await).ends_with(" of 600"));
}

#[tokio::test]
async fn a_plan_is_used_up_and_comes_back() {
    let shop = Shop::new().await;
    for (name, most) in [("rita", 60), ("carl", 600)] {
        for number in 0..most {
            // Elsewhere each time, so that no address is in the way.
            let answer = by_key(&mut shop.browser(), key(name), "/me").await;
            assert_eq!(answer.status(), 200, "{name} {number}");
        }
        let mut browser = shop.browser();
        let answer = by_key(&mut browser, key(name), "/me").await;
        answer.assert_status(429).assert_problem("quota-exceeded");
        assert_eq!(answer.header("retry-after"), Some("1"), "{name}");
        shop.time.advance(Duration::from_secs(1));
        by_key(&mut browser, key(name), "/me").await.assert_status(200);
    }
}

#[tokio::test]
async fn a_search_costs_five() {
    let shop = Shop::new().await;
    let mut browser = shop.browser();
    for (path, left) in [
        ("/books", "\"search\";r=59;t=1"),
        ("/books?author=austen", "\"search\";r=54;t=6"),
        ("/books?authors=no", "\"search\";r=53;t=7"),
        ("/books?x=1&author=", "\"search\";r=48;t=12"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(field(&answer, "search").as_deref(), Some(left), "{path}");
    }
    for _ in 0..9 {
        browser.get("/books?author=a").await.assert_status(200);
    }
    let refused = browser.get("/books?author=a").await;
    refused.assert_status(429).assert_problem("quota-exceeded");
    assert_eq!(refused.header("retry-after"), Some("2"));
    // There is room for something smaller.
    browser.get("/books").await.assert_status(200);
}

#[tokio::test]
async fn guessing_is_limited_and_nothing_else() {
    let shop = Shop::new().await;
    let (mut eve, carl) = (shop.browser(), key("carl"));
    for number in 0..30 {
        by_key(&mut eve, carl, "/me").await.assert_status(200);
        let (path, key) = (["/me", "/", "/orders"][number % 3], format!("guess-{number}"));
        by_key(&mut eve, &key, path).await.assert_status(401);
        shop.time.advance(Duration::from_millis(50));
    }
    // A second and a half has brought none back; now the right one does not help either.
    for key in ["guess-31", carl] {
        by_key(&mut eve, key, "/me").await.assert_status(429).assert_problem("quota-exceeded");
    }
    eve.log_in("ada@acme.example", PASSWORD).await.assert_status(429);
    // What asks nobody's name goes on, and so does everybody else.
    eve.get("/books/7").await.assert_status(200);
    by_key(&mut shop.browser(), carl, "/me").await.assert_status(200);
}
