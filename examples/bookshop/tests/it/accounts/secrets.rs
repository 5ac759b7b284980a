//! What nobody is to see: in the database, in answers, in the log.
use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sqlx::Row;

use crate::shop::{File, PASSWORD, Shop};

const ADA: &str = "ada@acme.example";

/// What is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks 24, 30 and 40.
#[tokio::test]
async fn no_secret_is_kept_said_or_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    // While there is but one, a place that another test reaches first is asked about by that test's thread, which has none.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _guard = tracing::subscriber::set_default(subscriber);
    let file = File::new();
    let shop = Shop::on(&file.url()).await;
    let mut ada = shop.customer(ADA).await;
    let mut secrets = vec![PASSWORD.to_owned(), shop.token(ADA, 1).await];
    secrets.push(ada.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned());
    let body = json!({ "label": "till", "current": PASSWORD });
    let made = ada.post("/account/keys", body).await.json_value();
    let id = made["id"].as_str().unwrap();
    secrets.push(made["key"].as_str().unwrap().to_owned());
    let rotated = ada.post("/account/keys/rotate", json!({ "id": id, "current": PASSWORD })).await;
    secrets.push(rotated.json_value()["key"].as_str().unwrap().to_owned());
    ada.post("/account/reset", json!({ "email": ADA })).await.assert_status(202);
    secrets.push(shop.token(ADA, 4).await);
    let new = json!({ "email": "ada@new.example", "current": PASSWORD });
    ada.post("/account/email", new).await.assert_status(202);
    secrets.push(shop.token("ada@new.example", 1).await);
    for wrong in ["wrong-password-1", "wrong-password-2"] {
        ada.log_in(ADA, wrong).await.assert_status(401);
        secrets.push(wrong.to_owned());
    }
    let wrong = "bookshop_0123456789abcdef0123456789abcdef000000";
    ada.ask("GET", "/me", &[("x-api-key", wrong)], None).await.assert_status(401);
    secrets.push(wrong.to_owned());
    let change = json!({ "current": PASSWORD, "password": "a whole other password" });
    ada.post("/account/password", change).await.assert_status(200);
    secrets.push("a whole other password".to_owned());
    secrets.push(ada.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned());
    assert_eq!(secrets.len(), 12);

    let pool = sqlx::SqlitePool::connect(&file.url()).await.unwrap();
    let mut dump = String::new();
    for table in ["users", "tokens", "keys", "sessions"] {
        let query = format!("select * from portcullis_{table}");
        for row in sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.unwrap() {
            for at in 0..row.len() {
                let text = row.try_get_unchecked::<Option<String>, _>(at).unwrap_or_default();
                dump.push_str(&text.unwrap_or_default());
                dump.push('\n');
            }
        }
    }
    assert!(dump.contains("$argon2id$") && dump.contains(ADA), "{dump}");
    let bytes = std::fs::read(&file.0).unwrap();
    let raw = String::from_utf8_lossy(&bytes).into_owned();
    let log = log.0.lock().unwrap().clone();
    let log = String::from_utf8_lossy(&log).into_owned();
    assert!(log.contains("/account/login"), "the log has the requests");
    for secret in &secrets {
        assert!(!dump.contains(secret) && !raw.contains(secret), "the database has {secret}");
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

/// Check 40: without its database the shop lets nobody in, and says nothing of it.
#[tokio::test]
async fn without_its_database_it_lets_nobody_in() {
    let file = File::new();
    let shop = Shop::on(&file.url()).await;
    let mut ada = shop.customer(ADA).await;
    let answer = ada.get("/orders").await;
    answer.assert_status(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    shop.store.close().await;
    let key = "bookshop_";
    let made = portcullis::authn::NewApiKey::generate("bookshop");
    for (path, headers) in
        [("/orders", vec![]), ("/me", vec![("x-api-key", made.key().expose().as_str())])]
    {
        let answer = ada.ask("GET", path, &headers, None).await;
        answer.assert_status(503).assert_problem("authentication-unavailable");
        assert!(!answer.text().contains("pool") && !answer.text().contains(key));
    }
    let mut eve = shop.browser();
    for (path, body) in [
        ("login", json!({ "email": ADA, "password": PASSWORD })),
        ("reset", json!({ "email": ADA })),
        ("register", json!({ "email": "eve@evil.example", "password": PASSWORD })),
        ("verify", json!({ "token": "A".repeat(43), "password": PASSWORD })),
        ("reset/confirm", json!({ "token": "A".repeat(43), "password": PASSWORD })),
    ] {
        let answer = eve.post(&format!("/account/{path}"), body).await;
        answer.assert_status(503).assert_problem("authentication-unavailable");
        assert!(eve.cookie.is_none());
        for word in ["sqlx", "pool", "closed", "portcullis_", "select"] {
            assert!(!answer.text().to_lowercase().contains(word), "{}", answer.text());
        }
    }
}
