//! Which passwords are taken, and how many may be tried.
use std::time::Duration;

use portcullis_sqlx::ManagedUsers;
use serde_json::json;

use crate::shop::{Browser, PASSWORD, Shop};

const ADA: &str = "ada@acme.example";

async fn change(ada: &mut Browser, current: &str, password: &str) -> u16 {
    let change = json!({ "current": current, "password": password });
    ada.post("/account/password", change).await.status().as_u16()
}

/// Checks 12, 13, 14 and 15; case 41.
#[tokio::test]
async fn a_password_is_taken_as_it_is_or_refused() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let long = "kq7 vw2 xz9 ".repeat(11)[..128].to_owned();
    for (password, status) in [
        ("kq7vw2x", 400),
        ("password123", 400),
        ("qwertyuiop", 400),
        ("ada@acme.example", 400),
        ("thebookshop", 400),
        (&format!("{long}x"), 400),
        ("", 400),
    ] {
        assert_eq!(change(&mut ada, PASSWORD, password).await, status, "{password}");
        let mut other = shop.browser();
        let register = json!({ "email": ADA, "password": password });
        let answer = other.post("/account/register", register).await;
        assert_eq!(answer.status(), status, "{password}");
    }
    assert_eq!(change(&mut ada, "", "another one it is").await, 400);
    assert_eq!(change(&mut ada, "wrong", "another one it is").await, 401);
    let mut current = PASSWORD.to_owned();
    let of_64 = &long[..64];
    let of_72 = format!("{}tail", &long[..72]);
    for (password, others) in [
        (of_64, vec![&of_64[..63]]),
        (&long, vec![&long[..127]]),
        (&of_72, vec![&long[..72], &long[..73]]),
        (
            "  Caf\u{e9} \u{1f9c0} au lait  ",
            vec![
                "Caf\u{e9} \u{1f9c0} au lait",
                "  caf\u{e9} \u{1f9c0} au lait  ",
                "  Caf\u{e9} \u{1f9c0} au lait",
            ],
        ),
    ] {
        assert_eq!(change(&mut ada, &current, password).await, 200, "{password}");
        current = password.to_owned();
        for other in others {
            ada.log_in(ADA, other).await.assert_status(401).assert_problem("credentials-invalid");
        }
        ada.log_in(ADA, password).await.assert_status(200);
    }
}

/// Check 17: nobody is there before somebody registers.
#[tokio::test]
async fn a_new_shop_has_no_account() {
    let shop = Shop::new().await;
    for email in ["admin@bookshop.example", "root@localhost", "admin@localhost"] {
        for password in ["admin", "password", "bookshop"] {
            shop.browser().log_in(email, password).await.assert_status(401);
        }
    }
    shop.browser().log_in("admin", "admin").await.assert_status(400);
    assert!(shop.store.stores().users().await.unwrap().all().await.unwrap().is_empty());
}

/// Check 16; cases 39 and 40: an account has ten tries, however it is spelled, wherever they come from and whatever they are for.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_tries() {
    let shop = Shop::new().await;
    let mut ada = shop.customer(ADA).await;
    let spellings = [
        "ada@acme.example",
        "ADA@ACME.EXAMPLE",
        " ada@acme.example ",
        "ada@ACME\u{3002}example",
        "Ada@Acme.Example",
    ];
    let all = (0..200).map(|number| {
        let (mut browser, email) = (shop.browser(), spellings[number % spellings.len()]);
        tokio::spawn(async move { browser.log_in(email, "wrong").await })
    });
    let mut looked = 0;
    for answer in all.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status() == 401 {
            looked += 1;
        } else {
            answer.assert_status(429).assert_problem("attempts-exhausted");
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=30).contains(&after), "{after}");
        }
    }
    assert_eq!(looked, 10);
    // The right one hears the same. Whoever is logged in goes on, and has as many tries of the own password.
    shop.browser().log_in(ADA, PASSWORD).await.assert_status(429);
    let mut looked = 0;
    for _ in 0..20 {
        let status = change(&mut ada, "wrong", "another one it is").await;
        assert!([401, 429].contains(&status), "{status}");
        looked += usize::from(status == 401);
    }
    assert_eq!(looked, 10);
    assert_eq!(change(&mut ada, PASSWORD, "another one it is").await, 429);
    assert!(ada.is_known().await);
    // Nobody is locked out for good.
    shop.time.advance(Duration::from_secs(31));
    shop.browser().log_in(ADA, PASSWORD).await.assert_status(200);
}

/// Checks 7 and 16: an address has thirty tries, whatever it says of itself.
#[tokio::test]
async fn an_address_has_so_many_tries() {
    let shop = Shop::new().await;
    let mut eve = shop.browser();
    let mut refused = 0;
    for number in 0..40 {
        let other = format!("203.0.113.{number}");
        let claims = [
            ("x-forwarded-for", other.as_str()),
            ("forwarded", &format!("for={other}")),
            ("x-real-ip", &other),
            ("x-portcullis-client", &other),
        ];
        let body = json!({ "email": format!("user{number}@acme.example"), "password": "wrong" });
        let body = Some(("application/json", body.to_string()));
        let answer = eve.ask("POST", "/account/login", &claims, body).await;
        refused += usize::from(answer.status() == 429);
    }
    assert_eq!(refused, 10);
    // Another address has its own.
    shop.browser().log_in(ADA, "wrong").await.assert_status(401);
}
