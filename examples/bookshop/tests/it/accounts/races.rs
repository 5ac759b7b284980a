//! What is under way while a password changes.
use portcullis_sqlx::{ManagedUsers, Rights};
use serde_json::json;

use crate::shop::{PASSWORD, Shop};

const ADA: &str = "ada@acme.example";

/// Many log in with the old password while it is reset: whenever they are done, none of them is in afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_password_began_ends_with_it() {
    for _ in 0..3 {
        let shop = Shop::new().await;
        let ada = shop.customer(ADA).await;
        let mut owner = shop.browser();
        owner.post("/account/reset", json!({ "email": ADA })).await.assert_status(202);
        let token = shop.token(ADA, 2).await;
        let thieves = (0..8).map(|_| {
            let mut thief = shop.browser();
            tokio::spawn(async move {
                thief.log_in(ADA, PASSWORD).await;
                thief
            })
        });
        let thieves: Vec<_> = thieves.collect();
        // And one who is in already makes a key and gives the account another address.
        let (mut key, mut email) = (ada.clone(), ada.clone());
        let key = tokio::spawn(async move {
            let answer = key.post("/account/keys", json!({ "current": PASSWORD })).await;
            (answer.status() == 201)
                .then(|| answer.json_value()["key"].as_str().unwrap().to_owned())
        });
        let email = tokio::spawn(async move {
            let body = json!({ "email": "thief@evil.example", "current": PASSWORD });
            email.post("/account/email", body).await;
            email
        });
        let body = json!({ "token": token, "password": "a whole other password", "keys": "end" });
        owner.post("/account/reset/confirm", body).await.assert_status(200);
        for thief in thieves {
            assert!(!thief.await.unwrap().is_known().await);
        }
        if let Some(key) = key.await.unwrap() {
            let headers = [("x-api-key", key.as_str())];
            shop.browser().ask("GET", "/me", &headers, None).await.assert_status(401);
        }
        let mut thief = email.await.unwrap();
        assert!(!thief.is_known().await);
        let sent = shop.mails.all().into_iter().find(|mail| mail.to.spelled().starts_with("thief"));
        if let Some(link) = sent.and_then(|mail| mail.link) {
            let token = link.expose().split_once("?token=").unwrap().1.to_owned();
            let mut eve = shop.browser();
            eve.log_in(ADA, "a whole other password").await.assert_status(200);
            let confirm = json!({ "token": token });
            eve.post("/account/email/confirm", confirm).await.assert_status(400);
        }
    }
}

/// Many log in while an operator takes a role away and ends the sessions: whoever is in afterwards does not have it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_role_that_was_taken_away_meanwhile() {
    let shop = Shop::new().await;
    shop.customer(ADA).await;
    let stores = shop.store.stores();
    let (users, id) = (stores.users().await.unwrap(), shop.id_of(ADA).await);
    let sessions = portcullis::authn::Sessions::new(stores.sessions().await.unwrap());
    for _ in 0..4 {
        assert!(users.set_rights(&id, &Rights::of(["auditor"])).await.unwrap());
        let all = (0..4).map(|_| {
            let mut browser = shop.browser();
            tokio::spawn(async move {
                browser.log_in(ADA, PASSWORD).await.assert_status(200);
                browser
            })
        });
        let all: Vec<_> = all.collect();
        // While passwords are looked at.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        assert!(users.set_rights(&id, &Rights::default()).await.unwrap());
        let user = portcullis::authn::Users::by_id(&users, &id).await.unwrap().unwrap();
        sessions.end_all(&user.identity).await.unwrap();
        for browser in all {
            let mut browser = browser.await.unwrap();
            let status = browser.get("/orders/all").await.status().as_u16();
            assert!([401, 403].contains(&status), "{status}");
        }
        shop.time.advance(std::time::Duration::from_mins(10));
    }
}
