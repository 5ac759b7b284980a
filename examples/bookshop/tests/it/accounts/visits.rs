//! Sessions: how long they are, who sees them, what ends them, on every node.
use std::time::Duration;

use portcullis_sqlx::{ManagedUsers, Rights};
use serde_json::{Value, json};

use crate::shop::{File, PASSWORD, Shop, ends, stream};

const ADA: &str = "ada@acme.example";

/// Check 32.
#[tokio::test]
async fn a_session_is_over_when_it_is_not_used_and_at_its_end() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let mut idle = ada.clone();
    shop.time.advance(Duration::from_mins(30));
    assert!(!idle.is_known().await);
    ada.log_in(ADA, PASSWORD).await.assert_status(200);
    for _ in 0..(12 * 60 / 20 - 1) {
        shop.time.advance(Duration::from_mins(20));
        assert!(ada.is_known().await);
    }
    shop.time.advance(Duration::from_mins(20));
    assert!(!ada.is_known().await);
}

/// Check 35.
#[tokio::test]
async fn a_user_sees_and_ends_the_own_sessions_and_no_others() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let mut eve = shop.customer("eve@evil.example").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = shop.browser();
        other.log_in(ADA, PASSWORD).await.assert_status(200);
        others.push(other);
    }
    let list = ada.get("/account/sessions").await.json_value();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 4);
    let name = |current: bool| {
        let found = list.iter().find(|it| it["is_current"] == Value::Bool(current)).unwrap();
        found["name"].as_str().unwrap().to_owned()
    };
    // Names open nothing, and are nobody else's to end.
    for (is_own, ended) in [(false, 0), (true, 1), (true, 0)] {
        let browser = if is_own { &mut ada } else { &mut eve };
        let answer = browser.post("/account/sessions/end", json!({ "name": name(false) })).await;
        assert_eq!(answer.json_value(), json!({ "ended": ended }));
    }
    let mut known = 0;
    for other in &mut others {
        known += usize::from(other.is_known().await);
    }
    assert_eq!(known, 2);
    let answer = ada.post("/account/sessions/end", json!({ "name": "others" })).await;
    assert_eq!(answer.json_value(), json!({ "ended": 2 }));
    assert!(ada.is_known().await && eve.is_known().await);
    ada.post("/account/sessions/end", json!({ "name": name(true) })).await.assert_status(200);
    assert!(!ada.is_known().await);
}

/// Checks 31 and 33, cases 36 and 37: two nodes on one database.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_is_over_on_every_node_within_a_second() {
    let file = File::new();
    let (one, two) = (Shop::on(&file.url()).await, Shop::on(&file.url()).await);
    let users = one.store.stores().users().await.unwrap();
    let sessions = portcullis::authn::Sessions::new(one.store.stores().sessions().await.unwrap());
    let identity = async || {
        let id = one.id_of(ADA).await;
        portcullis::authn::Users::by_id(&users, &id).await.unwrap().unwrap().identity
    };
    let mut first = one.customer(ADA).await;
    let other = "a whole other password";
    for how in ["log out", "password", "others", "admin", "disable", "roles"] {
        let current = if how == "log out" || how == "password" { PASSWORD } else { other };
        let mut elsewhere = two.browser();
        elsewhere.log_in(ADA, current).await.assert_status(200);
        first.log_in(ADA, current).await.assert_status(200);
        let open = [
            stream(&one, &elsewhere, "/orders/events").await,
            stream(&two, &elsewhere, "/orders/events").await,
        ];
        let id = one.id_of(ADA).await;
        match how {
            "log out" => {
                let mut same = elsewhere.clone();
                same.client = one.client.clone();
                same.post("/account/logout", json!({})).await.assert_status(200);
            }
            "password" => {
                let change = json!({ "current": PASSWORD, "password": other });
                first.post("/account/password", change).await.assert_status(200);
                assert!(first.is_known().await);
            }
            "others" => {
                let body = json!({ "name": "others" });
                first.post("/account/sessions/end", body).await.assert_status(200);
            }
            "admin" => assert!(sessions.end_all(&identity().await).await.unwrap() > 0),
            "disable" => {
                assert!(users.set_disabled(&id, true).await.unwrap());
                sessions.end_all(&identity().await).await.unwrap();
                two.browser().log_in(ADA, current).await.assert_status(401);
                assert!(users.set_disabled(&id, false).await.unwrap());
            }
            _ => {
                let rights = Rights::of(["auditor"]);
                assert!(users.set_rights(&id, &rights).await.unwrap());
                assert_eq!(users.rights(&id).await.unwrap(), Some(rights));
                sessions.end_all(&identity().await).await.unwrap();
            }
        }
        assert!(!elsewhere.is_known().await, "{how}");
        for body in open {
            assert!(ends(body).await, "{how}: what is under way ends");
        }
    }
    first.log_in(ADA, other).await.assert_status(200);
    first.get("/orders/all").await.assert_status(200);
    // What has ended stays so when everything begins anew.
    let old = first.cookie.clone();
    first.post("/account/logout", json!({})).await.assert_status(200);
    drop((one, two));
    let again = Shop::on(&file.url()).await;
    let mut replay = again.browser();
    replay.cookie = old;
    assert!(!replay.is_known().await);
}

/// Case 35: of many changes with one session one is made.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_change_the_password_one_does() {
    let shop = Shop::new().await;
    let ada = shop.customer(ADA).await;
    let all = (0..10).map(|number| {
        let mut ada = ada.clone();
        let password = format!("a whole other password {number}");
        tokio::spawn(async move {
            let change = json!({ "current": PASSWORD, "password": password });
            ada.post("/account/password", change).await.status().as_u16()
        })
    });
    let mut done = 0;
    for status in all.collect::<Vec<_>>() {
        match status.await.unwrap() {
            200 => done += 1,
            401 | 409 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(done, 1);
}

/// Keys act for their user as the user is today.
#[tokio::test]
async fn a_key_is_good_until_it_ends_and_as_long_as_its_user_may() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let body = json!({ "label": "till", "days": 30, "current": PASSWORD });
    let made = ada.post("/account/keys", body).await.json_value();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let me = async |key: &str| {
        let answer = shop.browser().ask("GET", "/me", &[("x-api-key", key)], None).await;
        (answer.status().as_u16(), answer)
    };
    let (status, answer) = me(key).await;
    assert_eq!((status, answer.header("cache-control")), (200, Some("no-store")));
    let own = ada.get("/me").await.json_value();
    assert_eq!(answer.json_value(), own);
    let list = ada.get("/account/keys").await;
    assert!(!list.text().contains(key) && list.json_value()[0]["used"].is_u64(), "{}", list.text());
    // It may not do what asks for the user.
    let change = json!({ "current": PASSWORD, "password": "a whole other password" }).to_string();
    let headers = [("x-api-key", key)];
    let body = Some(("application/json", change));
    shop.browser().ask("POST", "/account/password", &headers, body).await.assert_status(401);
    // Another text, and a day for whoever has the old one.
    let rotate = json!({ "id": id, "current": PASSWORD });
    let rotated = ada.post("/account/keys/rotate", rotate).await.json_value();
    let new = rotated["key"].as_str().unwrap();
    assert_eq!((me(key).await.0, me(new).await.0), (200, 200));
    shop.time.advance(Duration::from_hours(24));
    assert_eq!((me(key).await.0, me(new).await.0), (401, 200));
    let users = shop.store.stores().users().await.unwrap();
    let user = shop.id_of(ADA).await;
    assert!(users.set_disabled(&user, true).await.unwrap());
    assert_eq!(me(new).await.0, 401);
    assert!(users.set_disabled(&user, false).await.unwrap());
    assert_eq!(me(new).await.0, 200);
    let mut eve = shop.customer("eve@evil.example").await;
    let ended = eve.post("/account/keys/end", json!({ "id": id })).await.json_value();
    assert_eq!(ended, json!({ "ended": 0 }));
    let rotate = json!({ "id": id, "current": PASSWORD });
    eve.post("/account/keys/rotate", rotate).await.assert_status(404);
    ada.log_in(ADA, PASSWORD).await.assert_status(200);
    ada.post("/account/keys/end", json!({ "id": id })).await.assert_status(200);
    assert_eq!(me(new).await.0, 401);
    let body = json!({ "days": 30, "current": PASSWORD });
    let made = ada.post("/account/keys", body).await.json_value();
    let key = made["key"].as_str().unwrap();
    shop.time.advance(Duration::from_hours(30 * 24 - 1));
    assert_eq!(me(key).await.0, 200);
    shop.time.advance(Duration::from_hours(1));
    assert_eq!(me(key).await.0, 401);
    for odd in ["bookshop_", "bookshop_0123456789012345678901234567890123456789", &new[1..]] {
        assert_eq!(me(odd).await.0, 401);
    }
}
