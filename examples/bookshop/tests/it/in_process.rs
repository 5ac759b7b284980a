//! The shop in process: every book is there, and the answers in other dialects.
use bookshop::DEMO_KEYS;
use portcullis_testkit::TestClient;
use serde_json::json;

use crate::shop::Shop;

async fn client() -> TestClient<axum::Router> {
    Shop::new().await.client
}

fn key(role: &str) -> &'static str {
    DEMO_KEYS.iter().find(|demo| demo.role == role).unwrap().key
}

#[tokio::test]
async fn more_than_two_hundred_books_have_author_and_year() {
    let mut stock = csv::Reader::from_reader(include_str!("../../books.csv").as_bytes());
    let books: Vec<csv::StringRecord> = stock.records().map(Result::unwrap).collect();
    assert!(books.len() >= 200, "{}", books.len());
    for book in &books {
        assert!(
            !book[1].is_empty() && !book[2].is_empty() && book[3].parse::<i32>().is_ok(),
            "{book:?}"
        );
    }
    // As many as may come at once, from both ends of the shelf.
    let client = client().await;
    for book in books.iter().take(20).chain(books.iter().rev().take(20)) {
        let found = client.get(format!("/books/{}", &book[0])).send().await.json_value();
        assert_eq!((&found["title"], &found["author"]), (&json!(&book[1]), &json!(&book[2])));
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_and_nobody_gets_the_cause() {
    let client = client().await;
    let page = client.get("/books/999").header("accept", "text/html").send().await;
    assert_eq!(page.status(), 404);
    assert!(page.text().contains("<h1>The shop does not have this book</h1>"), "{}", page.text());
}

#[tokio::test]
async fn what_a_handler_cannot_read_is_a_problem_too() {
    let client = client().await;
    client.get("/books/abc").send().await.assert_status(400).assert_problem("request-invalid");
    client.get("/books?author=a&author=b").send().await.assert_problem("request-invalid");
    let order = || client.post("/orders").header("x-api-key", key("clerk"));
    order()
        .body("{")
        .header("content-type", "application/json")
        .send()
        .await
        .assert_problem("request-invalid");
    order().body("{}").send().await.assert_status(415).assert_problem("media-type-unsupported");
    order()
        .json(json!({"book": "x"}))
        .send()
        .await
        .assert_status(422)
        .assert_problem("content-invalid");
}

#[tokio::test]
async fn orders_belong_to_their_customer() {
    let client = client().await;
    let order = json!({"book": 3, "quantity": 2});
    client
        .post("/orders")
        .header("x-api-key", key("clerk"))
        .json(order)
        .send()
        .await
        .assert_status(201);
    let mine = client.get("/orders").header("x-api-key", key("clerk")).send().await.json_value();
    assert_eq!(mine, json!([{"id": 1, "customer": "carl", "book": 3, "quantity": 2}]));
    let others = client.get("/orders").header("x-api-key", key("reader")).send().await.json_value();
    assert_eq!(others, json!([]));
    for (order, status) in [
        (json!({"book": 3, "quantity": 0}), 422),
        (json!({"book": 3, "quantity": 101}), 422),
        (json!({"book": 999, "quantity": 1}), 404),
    ] {
        let answer =
            client.post("/orders").header("x-api-key", key("clerk")).json(order).send().await;
        assert_eq!(answer.status(), status);
    }
}
