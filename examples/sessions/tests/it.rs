//! What the README says.
use portcullis::authn::Sessions;
use portcullis::prelude::{ApiKey, ApiKeys};
use portcullis_sqlx::SqliteStores;
use portcullis_testkit::TestClient;
use serde_json::json;

#[tokio::test]
async fn a_key_becomes_a_cookie_with_a_cart() {
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    let stores = SqliteStores::from_pool(pool.connect("sqlite::memory:").await.unwrap());
    stores.migrate().await.unwrap();
    let keys = ApiKeys::new().key(ApiKey::new("ada", "k-7f3a9c"));
    let sessions = Sessions::new(stores.sessions().await.unwrap()).insecure_plain_http();
    let app = sessions::app(sessions, keys).unwrap();
    let client = TestClient::new(app).foreign_errors();
    client.get("/cart").send().await.assert_status(401);
    let log_in = async || {
        let answer = client.post("/session").header("x-api-key", "k-7f3a9c").send().await;
        answer.assert_status(200);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let (cookie, other) = (log_in().await, log_in().await);
    assert!(cookie.starts_with("insecure-session="));
    for books in 1..=2 {
        let added = client.post("/cart/7").header("cookie", &cookie).send().await;
        assert_eq!(added.json_value(), json!({ "books": books }));
    }
    let forged =
        client.post("/cart/7").header("cookie", &cookie).header("origin", "http://evil.example");
    forged.send().await.assert_problem("request-cross-site");
    let cart = client.get("/cart").header("cookie", &cookie).send().await;
    assert_eq!(cart.json_value(), json!({ "books": [7, 7] }));
    let cart = client.get("/cart").header("cookie", &other).send().await;
    assert_eq!(cart.json_value(), json!({ "books": [] }), "another browser, another cart");
    let list = client.get("/sessions").header("cookie", &cookie).send().await.json_value();
    let names: Vec<_> = list.as_array().unwrap().iter().filter(|it| it["this"] == false).collect();
    assert_eq!((list.as_array().unwrap().len(), names.len()), (2, 1));
    let path = format!("/sessions/{}", names[0]["name"].as_str().unwrap());
    let ended = client.delete(path.as_str()).header("cookie", &cookie).send().await;
    assert_eq!(ended.json_value(), json!({ "ended": true }));
    client.get("/cart").header("cookie", &other).send().await.assert_status(401);
    let out = client.delete("/session").header("cookie", &cookie).send().await;
    assert!(out.header("set-cookie").unwrap().starts_with("insecure-session=;"));
    client.get("/cart").header("cookie", &cookie).send().await.assert_status(401);
}
