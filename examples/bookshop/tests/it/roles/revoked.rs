//! Check 37: a role that is given or taken counts at once, and on another replica within five seconds.
use std::time::Duration;

use serde_json::json;

use super::staff::{Given, Person, account};
use crate::shop::{Browser, File, Shop, stream};
use portcullis::authz::{Binding, RoleEdit};

/// The same visitor at another replica.
fn at(browser: &Browser, shop: &Shop) -> Browser {
    Browser { client: shop.client.clone(), ..browser.clone() }
}

async fn audits(browser: &mut Browser, key: &str) -> u16 {
    let answer = browser.ask("GET", "/orders/all", &[("x-api-key", key)], None).await;
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_from_when_it_is_given_until_it_is_taken_on_every_replica() {
    let file = File::new();
    let (one, two) = (Shop::on(&file.url()).await, Shop::on(&file.url()).await);
    let manager = Person::hired(&one, "mona", Some("leeds"), "manager", Given::ByAccount).await;
    let user = account(&one, "lou@leeds.example", Some("leeds")).await;
    let lou = Person::of_account(&one, &user).await;
    let mut browser = one.browser();
    let mut elsewhere = at(&browser, &two);
    assert_eq!(audits(&mut browser, &lou.key).await, 403);
    assert_eq!(audits(&mut elsewhere, &lou.key).await, 403);
    for (path, status) in [("/admin/roles", 200), ("/admin/roles/revoke", 403)].repeat(2) {
        let body = json!({ "user": user, "role": "auditor" }).to_string();
        let key = [("x-api-key", manager.key.as_str())];
        let body = Some(("application/json", body));
        browser.ask("POST", path, &key, body).await.assert_status(200);
        assert_eq!(audits(&mut browser, &lou.key).await, status, "at once");
        let heard = async {
            while audits(&mut elsewhere, &lou.key).await != status {
                // As fast as the limit of addresses lets one ask.
                two.time.advance(Duration::from_millis(100));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(5), heard).await;
        heard.unwrap_or_else(|_| panic!("{path}: not within five seconds"));
    }
}

/// A stream shows nothing more to who has lost the role since it began.
#[tokio::test]
async fn a_role_that_is_gone_shows_nothing_more_in_a_stream_that_goes_on() {
    use http_body_util::BodyExt;
    let shop = Shop::new().await;
    let mut lou = shop.customer("lou@leeds.example").await;
    let id = shop.id_of("lou@leeds.example").await;
    let binding = Binding::of("account", None, id, "clerk");
    shop.roles.change(&[RoleEdit::Assign(binding.clone())]).await.unwrap();
    let mut events = stream(&shop, &lou, "/orders/events").await;
    let carl = bookshop::DEMO_KEYS.iter().find(|it| it.name == "carl").unwrap().key;
    let mut browser = shop.browser();
    let mut order = async |quantity: u32| {
        let body = json!({ "book": 7, "quantity": quantity }).to_string();
        let body = Some(("application/json", body));
        browser.ask("POST", "/orders", &[("x-api-key", carl)], body).await.assert_status(201);
    };
    order(11).await;
    let seen = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&seen).contains("\"quantity\":11"), "{seen:?}");
    shop.roles.change(&[RoleEdit::Unassign(binding)]).await.unwrap();
    order(12).await;
    let own = json!({ "book": 7, "quantity": 13 });
    lou.post("/orders", own).await.assert_status(201);
    let seen = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&seen).contains("\"quantity\":13"), "{seen:?}");
}
