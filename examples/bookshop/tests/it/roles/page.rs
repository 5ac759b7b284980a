//! The page on which managers give roles.
use bookshop::DEMO_KEYS;
use portcullis::authn::MemoryUsers;
use portcullis::authz::{Binding, RoleEdit};
use portcullis_sqlx::{ManagedUsers, Rights};
use portcullis_testkit::TestResponse;
use serde_json::json;

use super::staff::account;
use crate::shop::{Browser, PASSWORD, Shop};

const MONA: &str = "mona@leeds.example";

fn key(name: &str) -> &'static str {
    DEMO_KEYS.iter().find(|demo| demo.name == name).unwrap().key
}

/// Somebody who manages a branch, and has logged in.
async fn manager(shop: &Shop, email: &str, branch: &str) -> Browser {
    let mut browser = shop.customer(email).await;
    let id = shop.id_of(email).await;
    let mut rights = Rights::default();
    rights.tenant = Some(branch.to_owned());
    let users = shop.store.stores().users().await.unwrap();
    assert!(users.set_rights(&id, &rights).await.unwrap());
    let binding = Binding::of(MemoryUsers::ISSUER, Some(branch), id, "manager").in_tenant(branch);
    shop.roles.change(&[RoleEdit::Assign(binding)]).await.unwrap();
    // A session has the branch of the time of the log-in.
    browser.log_in(email, PASSWORD).await.assert_status(200);
    browser
}

async fn look(browser: &mut Browser) -> TestResponse {
    browser.ask("GET", "/admin/roles", &[("accept", "text/html")], None).await
}

async fn by_key(shop: &Shop, name: &str, path: &str, body: serde_json::Value) -> TestResponse {
    let body = Some(("application/json", body.to_string()));
    shop.browser().ask("POST", path, &[("x-api-key", key(name))], body).await
}

#[tokio::test]
async fn a_manager_gives_a_role_and_takes_it_away_without_a_script() {
    let shop = Shop::new().await;
    let mut mona = manager(&shop, MONA, "leeds").await;
    let lena = account(&shop, "lena@leeds.example", Some("leeds")).await;
    account(&shop, "yuri@york.example", Some("york")).await;
    account(&shop, "carla@home.example", None).await;
    assert!(mona.get("/").await.text().contains("href=\"/admin/roles\""));
    let page = look(&mut mona).await;
    page.assert_status(200);
    let html = page.text();
    for wanted in [
        "lena@leeds.example",
        "<label for=\"user\">To whom</label><select id=\"user\"",
        "<label for=\"role\">Which role</label><select id=\"role\"",
        "<th scope=\"row\">",
        "<html lang=\"en\">",
    ] {
        assert!(html.contains(wanted), "{wanted}: {html}");
    }
    for unwanted in ["<script", "york", "carla", "value=\"operator\""] {
        assert!(!html.contains(unwanted), "{unwanted}: {html}");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.header("cache-control"), Some("no-store"));

    let fields = [("user", lena.as_str()), ("role", "clerk")];
    let page = mona.submit("/admin/roles", &fields).await;
    page.assert_status(200);
    let said = "<p class=\"message\" role=\"status\">lena@leeds.example is clerk in leeds now.</p>";
    assert!(page.text().contains(said), "{}", page.text());
    assert!(page.text().contains("aria-label=\"Take away clerk from lena@leeds.example\""));
    let page = mona.submit("/admin/roles/revoke", &fields).await;
    assert!(page.text().contains("is not clerk in leeds any longer"), "{}", page.text());
    assert!(!page.text().contains("Take away clerk from lena"), "{}", page.text());
}

#[tokio::test]
async fn what_is_refused_is_said_on_the_page() {
    let shop = Shop::new().await;
    let mut mona = manager(&shop, MONA, "leeds").await;
    let lena = account(&shop, "lena@leeds.example", Some("leeds")).await;
    let yuri = account(&shop, "yuri@york.example", Some("york")).await;
    let clerk = [("user", lena.as_str()), ("role", "clerk")];
    mona.submit("/admin/roles", &clerk).await.assert_status(200);
    for (user, role, status, said) in [
        (
            &lena,
            "auditor",
            409,
            "`sales-and-audit` keeps auditor and clerk apart, and lena@leeds.example would have both",
        ),
        (&lena, "emperor", 422, "no role is called `emperor`"),
        (&lena, "<script>", 422, "no role is called `&lt;script&gt;`"),
        (&lena, "", 422, "choose one"),
        (&lena, "operator", 403, "you cannot give `operator` in leeds"),
        (&yuri, "reader", 404, "You manage nobody of this name"),
        (&"nobody".to_owned(), "reader", 404, "You manage nobody of this name"),
    ] {
        let page = mona.submit("/admin/roles", &[("user", user), ("role", role)]).await;
        page.assert_status(status);
        let alert = page.text().split("role=\"alert\">").nth(1).unwrap_or_default();
        assert!(alert.split("</p>").next().unwrap().contains(said), "{role}: {}", page.text());
        assert!(page.text().contains("<h2>Give a role</h2>"), "the form is still there");
    }
    // Nothing of it has happened.
    let list = mona.get("/admin/roles").await.json_value();
    let lena = list.as_array().unwrap().iter().find(|it| it["user"] == lena.as_str()).unwrap();
    assert_eq!(lena["roles"], json!(["clerk"]));
    let page = look(&mut manager(&shop, "yara@york.example", "york").await).await;
    assert!(page.text().contains("yuri@york.example") && !page.text().contains("leeds"));
}

#[tokio::test]
async fn programs_get_json_and_problems() {
    let shop = Shop::new().await;
    let lena = account(&shop, "lena@leeds.example", Some("leeds")).await;
    let yuri = account(&shop, "yuri@york.example", Some("york")).await;
    let change = |user: &str, role: &str| json!({ "user": user, "role": role });
    for (who, path, body, status, problem) in [
        ("mona", "/admin/roles", change(&lena, "clerk"), 200, None),
        ("mona", "/admin/roles", change(&lena, "auditor"), 409, Some("roles-apart")),
        ("mona", "/admin/roles", change(&lena, "none"), 422, Some("role-unknown")),
        ("mona", "/admin/roles", change(&lena, "operator"), 403, Some("role-too-much")),
        ("mona", "/admin/roles", change(&yuri, "reader"), 404, Some("person-unknown")),
        ("lena", "/admin/roles", change(&lena, "manager"), 403, Some("permission-denied")),
        // Whoever is above all branches may all.
        ("olga", "/admin/roles", change(&yuri, "operator"), 200, None),
        ("olga", "/admin/roles", change(&lena, "manager"), 200, None),
        // A manager takes away no more than a manager gives.
        ("mona", "/admin/roles/revoke", change(&yuri, "operator"), 404, Some("person-unknown")),
        ("olga", "/admin/roles", change(&lena, "operator"), 200, None),
        ("mona", "/admin/roles/revoke", change(&lena, "operator"), 403, Some("role-too-much")),
        ("mona", "/admin/roles/revoke", change(&lena, "manager"), 200, None),
    ] {
        let answer = by_key(&shop, who, path, body.clone()).await;
        assert_eq!(answer.status(), status, "{who} {path} {body}: {}", answer.text());
        let told = answer.problem().map(|it| it.rsplit('/').next().unwrap_or(it).to_owned());
        assert_eq!(told.as_deref(), problem, "{who} {path} {body}");
    }
    let list = shop.browser().ask("GET", "/admin/roles", &[("x-api-key", key("olga"))], None).await;
    assert_eq!(
        list.json_value(),
        json!([
            { "user": lena, "email": "lena@leeds.example", "branch": "leeds", "roles": ["clerk", "operator"] },
            { "user": yuri, "email": "yuri@york.example", "branch": "york", "roles": ["operator"] },
        ])
    );
}

#[tokio::test]
async fn no_other_site_gives_roles_and_nobody_is_sent_to_log_in() {
    let shop = Shop::new().await;
    let mut mona = manager(&shop, MONA, "leeds").await;
    let lena = account(&shop, "lena@leeds.example", Some("leeds")).await;
    let form = format!("user={lena}&role=clerk");
    let kind = "application/x-www-form-urlencoded";
    for foreign in [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")]] {
        for path in ["/admin/roles", "/admin/roles/revoke"] {
            let answer = mona.ask("POST", path, &foreign, Some((kind, form.clone()))).await;
            answer.assert_status(403).assert_problem("request-cross-site");
        }
    }
    // What a form of another site can send beside that is no form of ours.
    let own = [("sec-fetch-site", "same-origin")];
    let text = json!({ "user": lena, "role": "clerk" }).to_string();
    let answer = mona.ask("POST", "/admin/roles", &own, Some(("text/plain", text))).await;
    answer.assert_status(415);
    assert_eq!(shop.roles.current().assigned_users("clerk").count(), 0);

    let answer = look(&mut shop.browser()).await;
    answer.assert_status(303);
    assert_eq!(answer.header("location"), Some("/account/login?next=/admin/roles"));
    let mut eve = shop.customer("eve@evil.example").await;
    look(&mut eve).await.assert_status(403);
    assert!(!eve.get("/").await.text().contains("/admin/roles"));
}
