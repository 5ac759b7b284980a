//! Cookies, and who may use them.
use portcullis_sqlx::{ManagedUsers, Rights};
use portcullis_testkit::TestResponse;
use serde_json::json;

use crate::shop::{PASSWORD, Shop};

const ADA: &str = "ada@acme.example";

/// Checks 1 and 2.
#[tokio::test]
async fn a_cookie_is_short_and_for_this_host_alone() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let users = shop.store.stores().users().await.unwrap();
    let rights = Rights::of((0..200).map(|number| format!("group-with-a-long-name-{number}")));
    assert!(users.set_rights(&shop.id_of(ADA).await, &rights).await.unwrap());
    ada.log_in(ADA, PASSWORD).await.assert_status(200);
    let cookie = ada.set.clone().unwrap();
    let pair = cookie.split(';').next().unwrap();
    assert!(pair.starts_with("__Host-session=") && pair.len() < 100, "{cookie}");
    let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]);
    let me = ada.get("/me").await;
    assert_eq!(me.json_value()["roles"].as_array().unwrap().len(), 201);
}

/// Checks 5 and 11: what pages of other sites can make a browser send.
#[tokio::test]
async fn what_another_site_sends_changes_nothing() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let order = json!({ "book": 7, "quantity": 1 }).to_string();
    let foreign = [
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
        ],
    ];
    for headers in &foreign {
        for path in ["/orders", "/account/logout", "/account/password", "/account/sessions/end"] {
            let body = Some(("application/json", order.clone()));
            let answer = ada.ask("POST", path, headers, body).await;
            answer.assert_status(403).assert_problem("request-cross-site");
        }
        // Nobody is logged in as somebody else either, who has no cookie yet.
        let log_in = json!({ "email": ADA, "password": PASSWORD }).to_string();
        let mut stranger = shop.browser();
        let body = Some(("application/json", log_in));
        let answer = stranger.ask("POST", "/account/login", headers, body).await;
        answer.assert_status(403);
        assert!(stranger.cookie.is_none());
        let mut upgrade = headers.clone();
        upgrade.extend([("upgrade", "websocket"), ("connection", "upgrade")]);
        ada.ask("GET", "/orders", &upgrade, None).await.assert_status(403);
    }
    assert_eq!(ada.get("/orders").await.json_value(), json!([]));
    // A form of another site can send text that looks like JSON, and the shop does not read it.
    let own = [("sec-fetch-site", "same-origin")];
    for kind in
        ["text/plain", "multipart/form-data; boundary=a", "application/x-www-form-urlencoded"]
    {
        let answer = ada.ask("POST", "/orders", &own, Some((kind, order.clone()))).await;
        answer.assert_status(415);
    }
    let body = Some(("text/plain", json!({ "current": PASSWORD }).to_string()));
    ada.ask("POST", "/account/password", &own, body).await.assert_status(415);
    let body = Some(("application/json", order));
    ada.ask("POST", "/orders", &own, body).await.assert_status(201);
}

/// Check 6: what changes something is asked for by POST.
#[tokio::test]
async fn nothing_changes_by_looking_at_it() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    for path in ["/account/sessions/end", "/account/keys/rotate", "/account/keys/end"] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let answer = ada.ask(method, path, &[], None).await;
            answer.assert_status(405);
            assert_eq!(answer.header("allow"), Some("OPTIONS, POST"));
        }
    }
    for path in [
        "login",
        "logout",
        "register",
        "verify",
        "reset",
        "reset/confirm",
        "password",
        "email",
        "keys",
    ] {
        let answer = ada.ask("GET", &format!("/account/{path}?name=others"), &[], None).await;
        answer.assert_status(200);
        ada.ask("DELETE", &format!("/account/{path}"), &[], None).await.assert_status(405);
    }
    assert!(ada.is_known().await);
}

fn is_taken_back(answer: &TestResponse) -> bool {
    let cookie = answer.header("set-cookie").unwrap_or_default();
    cookie == "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
}

/// Check 31, cases 31, 36, 43 and 47.
#[tokio::test]
async fn an_id_is_new_with_each_log_in_and_worth_nothing_after_it() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let first = ada.cookie.clone().unwrap();
    // One that somebody has chosen is not adopted.
    for chosen in ["__Host-session=chosen", &format!("__Host-session={}", "A".repeat(43))] {
        let mut victim = shop.browser();
        victim.cookie = Some(chosen.to_owned());
        assert!(!victim.is_known().await);
        victim.cookie = Some(chosen.to_owned());
        victim.log_in(ADA, PASSWORD).await.assert_status(200);
        assert_ne!(victim.cookie.as_deref(), Some(chosen));
    }
    // A byte of it moved, changed, cut off or added is another one.
    let (name, id) = first.split_once('=').unwrap();
    let swapped = format!("{}{}{}", &id[1..2], &id[..1], &id[2..]);
    let other = if id.ends_with('A') { "E" } else { "A" };
    let changed = format!("{}{other}", &id[..42]);
    // An id may begin with the same letter twice.
    let odd = [&swapped, &changed, &id[1..].to_owned(), &format!("{id}A")];
    for odd in odd.into_iter().filter(|odd| *odd != id) {
        let mut other = shop.browser();
        other.cookie = Some(format!("{name}={odd}"));
        let answer = other.get("/me").await;
        answer.assert_status(401);
        assert!(is_taken_back(&answer), "{odd}");
    }
    ada.log_in(ADA, PASSWORD).await.assert_status(200);
    let second = ada.cookie.clone().unwrap();
    assert_ne!(first, second);
    let answer = ada.post("/account/logout", json!({})).await;
    answer.assert_status(200);
    assert!(is_taken_back(&answer), "{:?}", answer.header("set-cookie"));
    ada.cookie = Some(first);
    assert!(!ada.is_known().await);
    ada.cookie = Some(second.clone());
    let answer = ada.get("/me").await;
    answer.assert_status(401);
    assert!(is_taken_back(&answer));
    ada.cookie = Some(second);
    let page = ada.ask("GET", "/account/login", &[("accept", "text/html")], None).await;
    page.assert_status(200);
    assert!(is_taken_back(&page) && page.text().contains("name=\"password\""));
}
