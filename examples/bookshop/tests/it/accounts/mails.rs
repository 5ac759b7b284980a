//! What mails bring, and what they say.
use std::time::Duration;

use portcullis::authn::MailKind;
use serde_json::json;

use crate::shop::{PASSWORD, Shop};

const ADA: &str = "ada@acme.example";
const OTHER: &str = "a whole other password";

/// Checks 21 and 22; case 42.
#[tokio::test]
async fn a_link_is_good_once_for_an_hour_and_for_what_it_is_for() {
    let shop = Shop::new().await;
    let mut ada = shop.browser();
    let register = json!({ "email": ADA, "password": PASSWORD });
    ada.post("/account/register", register.clone()).await.assert_status(202);
    let late = shop.token(ADA, 1).await;
    // 256 bits, as text.
    assert_eq!(late.len(), 43);
    shop.time.advance(Duration::from_hours(1));
    let verify = |token: &str| json!({ "token": token, "password": PASSWORD });
    let answer = ada.post("/account/verify", verify(&late)).await;
    answer.assert_status(400).assert_problem("link-invalid");
    ada.post("/account/register", register).await.assert_status(202);
    let token = shop.token(ADA, 2).await;
    ada.post("/account/verify", verify(&token)).await.assert_status(201);
    ada.post("/account/verify", verify(&token)).await.assert_status(400);

    // The host that a request names is in no link.
    let body = json!({ "email": ADA }).to_string();
    let headers = [("x-forwarded-host", "evil.example")];
    let reset = ada.ask(
        "POST",
        "https://evil.example/account/reset",
        &headers,
        Some(("application/json", body)),
    );
    reset.await.assert_status(202);
    let first = shop.token(ADA, 3).await;
    let mail = shop.mails.last(ADA, 3).await;
    assert!(!mail.text.contains("evil"), "{}", mail.text);
    let body = json!({ "email": ADA });
    ada.post("/account/reset", body).await.assert_status(202);
    let second = shop.token(ADA, 4).await;

    // Without it, with another one, with one of another kind: nothing.
    let confirm = |token: &str| json!({ "token": token, "password": OTHER });
    for (body, status) in [
        (json!({ "password": OTHER }), 400),
        (json!({ "token": "", "email": ADA, "password": OTHER }), 400),
        (confirm(&token), 400),
        (confirm(&late), 400),
        (confirm(&"A".repeat(43)), 400),
        (json!({ "token": first, "password": "short" }), 400),
    ] {
        let answer = shop.browser().post("/account/reset/confirm", body).await;
        assert_eq!(answer.status(), status);
    }
    shop.browser().log_in(ADA, PASSWORD).await.assert_status(200);
    // It logs nobody in, and is good once; what was sent beside it is good no longer.
    let mut resets = shop.browser();
    resets.post("/account/reset/confirm", confirm(&first)).await.assert_status(200);
    assert!(resets.cookie.is_none() && !ada.is_known().await);
    for used in [&first, &second] {
        let answer = shop.browser().post("/account/reset/confirm", confirm(used)).await;
        answer.assert_status(400).assert_problem("link-invalid");
    }
    shop.browser().log_in(ADA, PASSWORD).await.assert_status(401);
    shop.browser().log_in(ADA, OTHER).await.assert_status(200);
}

/// Check 22: a change of the password ends what a mail has brought.
#[tokio::test]
async fn a_link_ends_with_another_password() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    ada.post("/account/reset", json!({ "email": ADA })).await.assert_status(202);
    let token = shop.token(ADA, 2).await;
    let change = json!({ "current": PASSWORD, "password": OTHER });
    ada.post("/account/password", change).await.assert_status(200);
    let confirm = json!({ "token": token, "password": "yet another password" });
    shop.browser().post("/account/reset/confirm", confirm).await.assert_status(400);
}

/// Checks 20 and 34: a change is told, and asks for the password again.
#[tokio::test]
async fn a_change_is_told_to_its_user_and_asks_for_the_password() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let new = "ada@new.example";
    for (current, status) in [("", 400), ("wrong", 401), (PASSWORD, 202)] {
        let body = json!({ "email": new, "current": current });
        assert_eq!(ada.post("/account/email", body).await.status(), status);
    }
    let token = shop.token(new, 1).await;
    // The link does nothing for anybody else.
    let confirm = json!({ "token": token });
    shop.browser().post("/account/email/confirm", confirm.clone()).await.assert_status(401);
    let mut eve = shop.customer("eve@evil.example").await;
    eve.post("/account/email/confirm", confirm.clone()).await.assert_status(400);
    let before = ada.cookie.clone();
    ada.post("/account/email/confirm", confirm.clone()).await.assert_status(200);
    assert_ne!(ada.cookie, before);
    assert_eq!(shop.mails.last(ADA, 2).await.kind, MailKind::EmailChanged);
    ada.post("/account/email/confirm", confirm).await.assert_status(400);
    shop.browser().log_in(ADA, PASSWORD).await.assert_status(401);
    shop.browser().log_in(new, PASSWORD).await.assert_status(200);

    let change = json!({ "current": PASSWORD, "password": OTHER });
    ada.post("/account/password", change).await.assert_status(200);
    assert_eq!(shop.mails.last(new, 2).await.kind, MailKind::PasswordChanged);
    for (current, status) in [("", 400), (PASSWORD, 401), (OTHER, 201)] {
        let body = json!({ "label": "till", "current": current });
        assert_eq!(ada.post("/account/keys", body).await.status(), status);
    }
    assert_eq!(shop.mails.last(new, 3).await.kind, MailKind::KeyMade);
    // An address of somebody else is not theirs to give, and they hear nothing of it.
    let body = json!({ "email": new, "current": PASSWORD });
    eve.post("/account/email", body).await.assert_status(202);
    ada.post("/account/logout", json!({})).await.assert_status(200);
    assert!(
        shop.mails
            .all()
            .iter()
            .all(|mail| mail.kind != MailKind::ConfirmEmail || mail.to.spelled() == new)
    );
    assert_eq!(shop.mails.all().iter().filter(|mail| mail.to.spelled() == new).count(), 3);
}
