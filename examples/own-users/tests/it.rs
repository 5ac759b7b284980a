//! What the traits ask of the application's own table, and what becomes of members who were there before.
#![cfg(test)]
use std::sync::Arc;

use own_users::{Members, app, migrate};
use portcullis::authn::{MemoryKeys, PasswordError, Passwords};
use portcullis_sqlx::SqliteStores;
use portcullis_testkit::{KeptMails, TestClient, account_endpoints_contract, users_contract};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// A database in memory, which lives as long as its one connection.
async fn pool() -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None);
    let options = options.max_lifetime(None);
    let pool = options.connect_with(SqliteConnectOptions::new().in_memory(true)).await.unwrap();
    migrate(&pool).await.unwrap();
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_table_keeps_the_contract() {
    users_contract(Arc::new(Members::new(pool().await))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_once_is_done_once() {
    let pool = pool().await;
    let stores = SqliteStores::from_pool(pool.clone());
    let (tokens, sessions) = (stores.tokens().await.unwrap(), stores.sessions().await.unwrap());
    account_endpoints_contract(Members::new(pool), tokens, MemoryKeys::new(), sessions).await;
}

#[tokio::test]
async fn both_migrate_beside_each_other_as_often_as_they_like() {
    let pool = pool().await;
    migrate(&pool).await.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'portcullis%' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let names: Vec<String> = sqlx::query_scalar(tables).fetch_all(&pool).await.unwrap();
    assert_eq!(names, ["_sqlx_migrations", "members"]);
    let count = "SELECT COUNT(*) FROM _sqlx_migrations";
    let count: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2);
}

/// Somebody who was there before logs in with the password of before; who has left, or whose hash nobody can read, does not.
#[tokio::test]
async fn members_of_before_log_in_as_before() -> Result<(), PasswordError> {
    let pool = pool().await;
    let hash = Passwords::new().hash("a password of before".into()).await?;
    let insert = "INSERT INTO members (id, mail, mail_spelled, display_name, password_hash, plan, is_staff, left_at) VALUES (?, ?, lower(?), ?, ?, 'gold', ?, ?)";
    for (id, mail, hash, is_staff, left) in [
        (7, "Ada@acme.example", Some(hash.as_str()), true, None),
        (8, "bob@acme.example", Some(hash.as_str()), false, Some("2026-01-01")),
        (9, "eve@acme.example", None, false, None),
    ] {
        let member = sqlx::query(insert).bind(id).bind(mail).bind(mail).bind("Some Name");
        member.bind(hash).bind(is_staff).bind(left).execute(&pool).await.unwrap();
    }
    let app = app(pool, "https://club.example", KeptMails::new(), |it| it).await.unwrap();
    let client = TestClient::new(app);
    let log_in = async |email: &str| {
        let body = json!({ "email": email, "password": "a password of before" });
        client.post("/account/login").json(body).send().await
    };
    for email in ["bob@acme.example", "eve@acme.example", "nobody@acme.example"] {
        log_in(email).await.assert_status(401);
    }
    let answer = log_in("ada@acme.example").await;
    answer.assert_status(200);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
    let me = client.get("/me").header("cookie", cookie).send().await;
    assert_eq!(me.json_value(), json!({ "member": "7", "name": "Some Name", "plan": "gold" }));
    client.get("/ledger").header("cookie", cookie).send().await.assert_status(200);
    client.get("/ledger").send().await.assert_status(401);
    Ok(())
}
