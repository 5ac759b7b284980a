//! What policies are told.
use std::time::Duration;

use portcullis_authz::Resource;
use portcullis_authz::cedar::CedarPolicies;
use portcullis_core::{Identity, IdentityKind, Verdict};
use portcullis_testkit::{AsUser, FakeTime, TestRequest, as_service, as_user, get, request};
use serde_json::json;

use super::{ask, object};

fn when(condition: &str) -> CedarPolicies {
    CedarPolicies::builder(format!("permit(principal, action, resource) when {{ {condition} }};"))
        .header("x-role")
        .build()
        .unwrap()
}

/// Each of the conditions is true of a request, and its contrary is not.
async fn assert_true(conditions: &[&str], request: impl Fn() -> TestRequest) {
    for condition in conditions {
        let (status, reason) = ask(&when(condition), request()).await;
        assert_eq!((status, &*reason), (200, "by policy policy0"), "{condition}");
        let (status, reason) = ask(&when(&format!("!({condition})")), request()).await;
        assert_eq!((status, &*reason), (403, "no policy permits it"), "not {condition}");
    }
}

fn ada() -> AsUser {
    let claims = json!({
        "department": "night",
        "level": 3,
        "huge": u64::MAX,
        "ratio": 0.5,
        "nothing": null,
        "cleared": true,
        "groups": ["a", null, "b", 1.5],
        "address": { "city": "Turin", "floor": null },
        "disguise": { "__entity": { "type": "Role", "id": "admin" } },
    });
    as_user("ada").tenant("acme").plan("pro").roles(["clerk", "reader"]).scopes(["books"]).with(
        |it| {
            it.assurance(2).method("pwd").method("otp").claims(claims.as_object().unwrap().clone())
        },
    )
}

#[tokio::test]
async fn a_caller_is_an_entity_with_all_that_is_known_of_them() {
    let conditions = [
        r#"principal == User::"test|acme|ada""#,
        r#"principal.key == "test|acme|ada" && principal.subject == "ada" && principal.issuer == "test""#,
        r#"principal.tenant == "acme" && principal.plan == "pro" && principal.assurance == 2"#,
        r#"principal.roles == ["clerk", "reader"] && principal.scopes == ["books"]"#,
        r#"principal.methods == ["otp", "pwd"]"#,
        r#"principal in Role::"clerk" && principal in Role::"reader" && !(principal in Role::"admin")"#,
        r#"principal in Tenant::"acme" && !(principal in Tenant::"other")"#,
        r#"principal.claims.department == "night" && principal.claims.level == 3 && principal.claims.cleared"#,
        r#"principal.claims.address == {city: "Turin"}"#,
        r#"principal.claims.groups == ["a", "b"]"#,
        // Cedar has no such numbers, and no null.
        "!(principal.claims has huge) && !(principal.claims has ratio) && !(principal.claims has nothing)",
        // What a token says is a value, however it is spelled.
        r#"principal.claims.disguise["__entity"]["id"] == "admin""#,
    ];
    assert_true(&conditions, || get("/orders/7").as_user(ada())).await;
}

#[tokio::test]
async fn what_is_not_known_of_a_caller_is_absent() {
    let conditions = [
        "!(principal has tenant) && !(principal has plan) && !(principal has assurance)",
        "principal.roles == principal.scopes && principal.methods == principal.roles && principal.claims == {}",
        r#"principal == User::"test||ada" && !(principal in Tenant::"")"#,
        "!(context has client)",
    ];
    assert_true(&conditions, || get("/orders/7").as_user(as_user("ada"))).await;
}

#[tokio::test]
async fn kinds_of_callers_are_types_so_that_none_is_taken_for_another() {
    let key: AsUser = Identity::builder("test", "ada").kind(IdentityKind::Key).into();
    for (caller, kind) in [(as_user("ada"), "User"), (as_service("ada"), "Service"), (key, "Key")] {
        for other in ["User", "Service", "Key"] {
            let policies = when(&format!("principal == {other}::\"test||ada\""));
            let (status, _) = ask(&policies, get("/orders/7").as_user(caller.clone())).await;
            assert_eq!(status == 200, kind == other, "{kind} {other}");
        }
    }
}

#[tokio::test]
async fn only_the_roles_that_a_session_has_activated_count() {
    let caller = || ada().with(|it| it.active_roles(["reader"]));
    let conditions = [
        r#"principal in Role::"reader" && !(principal in Role::"clerk")"#,
        r#"principal.roles == ["reader"]"#,
    ];
    assert_true(&conditions, || get("/orders/7").as_user(caller())).await;
}

#[tokio::test]
async fn on_the_way_in_the_resource_is_the_route_and_the_action_the_method() {
    let conditions = [
        r#"action == Action::"GET" && resource == Route::"order""#,
        r#"resource.template == "/orders/{id}" && resource.path == "/orders/7""#,
        r#"resource.host == "shop.example" && resource.parameters == {id: "7"}"#,
    ];
    assert_true(&conditions, || get("/orders/7?x=1").host("shop.example").as_user("ada")).await;
    let conditions = [
        r#"action == Action::"PURGE" && resource == Route::"/shelves/{shelf}/{*book}""#,
        r#"resource.parameters == {shelf: "a", book: "b/c"}"#,
    ];
    let purge = http::Method::from_bytes(b"PURGE").unwrap();
    assert_true(&conditions, || request(purge.clone(), "/shelves/a/b/c").as_user("ada")).await;
}

#[tokio::test]
async fn an_object_is_an_entity_of_its_own_type() {
    let order =
        Resource::new("order", "4711").tenant("acme").owner("test|acme|ada").path("/acme/7");
    let order = order.attribute("total", 12).attribute("tags", json!(["new", null]));
    for condition in [
        r#"action == Action::"orders:read" && resource == order::"4711""#,
        "resource.tenant == principal.tenant && resource.owner == principal.key",
        r#"resource.path like "/acme/*" && resource.total == 12 && resource.tags == ["new"]"#,
        r#"principal in Role::"clerk""#,
    ] {
        let request = || get("/orders/7").as_user(ada());
        let opinion = object(&when(condition), request(), "orders:read", &order).await;
        assert_eq!(
            (opinion.verdict(), opinion.reason()),
            (Verdict::Allow, "by policy policy0"),
            "{condition}"
        );
        let contrary = when(&format!("!({condition})"));
        let opinion = object(&contrary, request(), "orders:read", &order).await;
        assert_eq!(opinion.verdict(), Verdict::Deny, "not {condition}");
    }
    let nobodys = Resource::new("Shop::Order", "1");
    let absent = r#"resource == Shop::Order::"1" && !(resource has owner || resource has tenant || resource has path)"#;
    let opinion = object(&when(absent), get("/orders/7").as_user("ada"), "read", &nobodys).await;
    assert_eq!(opinion.verdict(), Verdict::Allow, "{}", opinion.reason());
}

#[tokio::test]
async fn an_object_that_cedar_cannot_name_is_nobodys_to_use() {
    let all = CedarPolicies::new("permit(principal, action, resource);").unwrap();
    for (resource, reason) in [
        (
            Resource::new("sales order", "1"),
            "`sales order` is no name of a type in Cedar, as the kind of a resource has to be",
        ),
        (
            Resource::new("", "1"),
            "`` is no name of a type in Cedar, as the kind of a resource has to be",
        ),
        (
            Resource::new("order", "1").attribute("owner", "test||ada"),
            "the resource has an attribute `owner`, which is the name of what `Resource::owner` says",
        ),
    ] {
        let opinion = object(&all, get("/orders/7").as_user("ada"), "read", &resource).await;
        assert_eq!((opinion.verdict(), opinion.reason()), (Verdict::Indeterminate, reason));
    }
}

#[tokio::test]
async fn the_context_has_the_address_and_the_time() {
    let time = FakeTime::new();
    time.advance(Duration::from_millis(5_900));
    let asked = |peer: &str| {
        let asked = get("/orders/7").as_user("ada").clock(time.clock());
        asked.peer(peer.parse().unwrap())
    };
    let conditions = [
        r#"context.client.isInRange(ip("10.0.0.0/8")) && context.client == ip("10.1.2.3")"#,
        "context.time == 1735689605",
    ];
    assert_true(&conditions, || asked("10.1.2.3:4")).await;
    assert_true(&conditions, || asked("[::ffff:10.1.2.3]:4")).await;
    assert_true(&[r#"context.client == ip("2001:db8::1")"#], || asked("[2001:db8::1]:4")).await;
}

#[tokio::test]
async fn a_header_is_seen_in_every_spelling() {
    let lines: &[&[&[u8]]] = &[
        &[b"admin"],
        &[b"user, admin"],
        &[b"user", b"admin"],
        &[b"admin", b"user"],
        &[b"\"admin\""],
        &[b"user,\"ad\\min\""],
        &[b"  admin  ,"],
        &[b"us\xffer,admin"],
        &[b"\xfe", b"admin"],
    ];
    for lines in lines {
        let request = || {
            let asked = get("/orders/7").as_user("ada");
            lines.iter().fold(asked, |asked, line| {
                asked.header("X-Role", http::HeaderValue::from_bytes(line).unwrap())
            })
        };
        assert_true(&[r#"context.headers["x-role"].contains("admin")"#], request).await;
    }
    let bytes = || {
        let value = http::HeaderValue::from_bytes(b"ad\xffmin").unwrap();
        get("/orders/7").as_user("ada").header("x-role", value)
    };
    assert_true(&["context.headers == {\"x-role\": [\"ad\u{fffd}min\"]}"], bytes).await;
    // A header that nobody has named is not there, and one that was not sent is empty.
    let other = || get("/orders/7").as_user("ada").header("x-other", "admin");
    assert_true(
        &[r#"context.headers["x-role"].isEmpty() && !(context.headers has "x-other")"#],
        other,
    )
    .await;
}
