//! What strangers learn, and what they are shown.
use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_testkit::TestResponse;
use serde_json::json;

use crate::shop::{PASSWORD, Shop};

const ADA: &str = "ada@acme.example";
/// As long as hers.
const BOB: &str = "bob@acme.example";

/// All that a client sees, but for what is another one with each request.
fn seen(answer: &TestResponse) -> (u16, BTreeMap<String, String>, String) {
    let own = ["x-request-id", "traceparent", "date"];
    let headers = answer.headers().iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    (answer.status().as_u16(), headers, answer.text().replace(BOB, ADA))
}

/// Check 19.
#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let shop = Shop::new().await;
    shop.customer(ADA).await;
    for path in ["login", "register", "reset"] {
        let path = format!("/account/{path}");
        // An address gets so many mails, and more of them after a while.
        shop.time.advance(Duration::from_hours(1));
        for is_form in [false, true] {
            let mut answers = Vec::new();
            for email in [ADA, BOB] {
                let mut stranger = shop.browser();
                let password = "not the password";
                answers.push(if is_form {
                    stranger.submit(&path, &[("email", email), ("password", password)]).await
                } else {
                    let body = json!({ "email": email, "password": password });
                    stranger.post(&path, body).await
                });
            }
            let [ada, bob] = &answers[..] else { panic!("two answers") };
            assert_eq!(seen(ada), seen(bob), "{path}");
        }
    }
    // A mail says more to whoever reads it.
    let kinds = |to: &str| {
        let all = shop.mails.all().into_iter().filter(|mail| mail.to.spelled() == to);
        all.map(|mail| format!("{:?}", mail.kind)).collect::<Vec<_>>()
    };
    shop.mails.last(BOB, 2).await;
    assert_eq!(kinds(BOB), ["Register", "Register"]);
    shop.mails.last(ADA, 3).await;
    assert_eq!(&kinds(ADA)[..3], ["Register", "RegisteredAlready", "RegisteredAlready"]);
}

/// The pages: each is whole, private, and without a script; a browser without a session is sent to log in, and comes back.
#[tokio::test]
async fn a_browser_finds_its_way() {
    let shop = Shop::new().await;
    let mut ada = shop.browser();
    let page = [("accept", "text/html")];
    let answer = ada.ask("GET", "/orders?page=2", &page, None).await;
    answer.assert_status(303);
    assert_eq!(answer.header("location"), Some("/account/login?next=/orders%3Fpage%3D2"));
    ada.get("/orders").await.assert_status(401).assert_problem("authentication-required");
    let answer = ada.ask("GET", "/account/keys", &page, None).await;
    assert_eq!(answer.header("location"), Some("/account/login?next=%2Faccount%2Fkeys"));
    let answer = ada.submit("/account/register", &[("email", ADA), ("password", "short")]).await;
    answer.assert_status(400);
    assert!(answer.text().contains("role=\"alert\"") && answer.text().contains(ADA));
    let fields = [("email", ADA), ("password", PASSWORD)];
    ada.submit("/account/register", &fields).await.assert_status(202);
    let token = shop.token(ADA, 1).await;
    let answer = ada.ask("GET", &format!("/account/verify?token={token}"), &page, None).await;
    assert!(answer.text().contains(&token), "{}", answer.text());
    let fields = [("token", token.as_str()), ("password", "wrong")];
    let answer = ada.submit("/account/verify", &fields).await;
    answer.assert_status(401);
    assert!(answer.text().contains(&token), "{}", answer.text());
    let fields = [("token", token.as_str()), ("password", PASSWORD)];
    let answer = ada.submit("/account/verify", &fields).await;
    assert_eq!((answer.status().as_u16(), answer.header("location")), (303, Some("/")));
    assert!(ada.get("/").await.text().contains("Log out"));
    for path in [
        "login",
        "logout",
        "register",
        "verify",
        "reset",
        "reset/confirm",
        "password",
        "email",
        "email/confirm",
        "sessions",
        "keys",
    ] {
        let answer = ada.ask("GET", &format!("/account/{path}"), &page, None).await;
        answer.assert_status(200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("referrer-policy"), Some("strict-origin"));
        assert!(answer.text().starts_with("<!DOCTYPE html>") && !answer.text().contains("<script"));
    }
    let fields = [("label", "till"), ("current", PASSWORD)];
    let answer = ada.submit("/account/keys", &fields).await;
    answer.assert_status(201);
    assert!(answer.text().contains("<code>bookshop_"), "{}", answer.text());
    let answer = ada.submit("/account/logout", &[]).await;
    assert_eq!((answer.status().as_u16(), answer.header("location")), (303, Some("/")));
    for (next, place) in [
        ("/orders?page=2", "/orders?page=2"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let fields = [("email", ADA), ("password", PASSWORD), ("next", next)];
        let answer = ada.submit("/account/login", &fields).await;
        assert_eq!((answer.status().as_u16(), answer.header("location")), (303, Some(place)));
    }
}
