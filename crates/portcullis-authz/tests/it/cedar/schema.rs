//! With a schema policies see what it declares, and what does not fit is never access.
use portcullis_authz::Resource;
use portcullis_authz::cedar::CedarPolicies;
use portcullis_core::{IdentityKind, Verdict};
use portcullis_testkit::{AsUser, as_service, as_user, get, request};
use serde_json::{Value, json};

use super::{ask, object};

const SCHEMA: &str = r#"
    type Address = { city?: String };
    entity Role, Tenant;
    entity Route = { path: String, parameters: { id?: String } };
    entity User in [Role] = {
        subject: String,
        plan?: String,
        claims: { level?: Long, address?: Address, groups?: Set<{ name: String }> },
    };
    entity order in [Tenant] = { owner?: String, total: Long };
    type Call = { time: Long, headers: { "x-role": Set<String> } };
    action GET appliesTo { principal: User, resource: Route, context: Call };
    action "orders:read" appliesTo { principal: User, resource: order };
"#;

const POLICIES: &str = r#"
    @id("in")
    permit(principal in Role::"clerk", action == Action::"GET", resource)
    when {
        (if principal.claims has level then principal.claims.level > 2 else true)
            && !context.headers["x-role"].contains("guest")
    };
    @id("object")
    permit(principal, action == Action::"orders:read", resource) when { resource.total < 100 };
"#;

fn policies() -> CedarPolicies {
    CedarPolicies::builder(POLICIES).schema(SCHEMA).header("x-role").build().unwrap()
}

fn clerk(claims: &Value) -> AsUser {
    let claims = claims.as_object().unwrap().clone();
    as_user("ada").roles(["clerk"]).tenant("acme").plan("pro").with(|it| it.claims(claims))
}

#[tokio::test]
async fn what_a_schema_does_not_declare_is_left_out() {
    let claims = json!({
        "iss": "x", "exp": 5, "level": 3,
        "address": { "city": "Turin", "street": "x" },
        "groups": [{ "name": "a", "id": 1 }],
    });
    let answer = ask(&policies(), get("/orders/7").as_user(clerk(&claims))).await;
    assert_eq!(answer, (200, "by policy in".to_owned()));
    let guest = get("/orders/7").as_user(clerk(&claims)).header("x-role", "user,guest");
    assert_eq!(ask(&policies(), guest).await.0, 403);
    let low = get("/orders/7").as_user(clerk(&json!({ "level": 2 })));
    assert_eq!(ask(&policies(), low).await.0, 403);
}

#[tokio::test]
async fn what_does_not_fit_is_indeterminate_and_says_what() {
    let rows = [
        (get("/orders/7").as_user(clerk(&json!({ "level": "high" }))), "claims"),
        (get("/orders/7").as_user(clerk(&json!({ "address": "Turin" }))), "claims"),
        (get("/orders/7").as_user(clerk(&json!({ "groups": [{ "id": 1 }] }))), "claims"),
        (get("/orders/7").as_user(as_service("robot").roles(["clerk"])), "Service"),
        (get("/orders/7").as_user(as_user("ada").with(|it| it.kind(IdentityKind::Key))), "Key"),
        (request(http::Method::POST, "/orders/7").as_user(clerk(&json!({}))), "Action::\"POST\""),
    ];
    for (asked, what) in rows {
        let (status, reason) = ask(&policies(), asked).await;
        assert_eq!(status, 503, "{reason}");
        assert!(reason.contains("does not fit the schema: ") && reason.contains(what), "{reason}");
        assert!(!reason.contains("ada") && !reason.contains("robot"), "{reason}");
    }
}

#[tokio::test]
async fn attributes_of_objects_have_to_be_those_of_the_schema() {
    let order = || Resource::new("order", "1").tenant("acme").owner("test|acme|ada").path("/x");
    let rows = [
        (order().attribute("total", 5), Verdict::Allow, "by policy object"),
        (order().attribute("total", 500), Verdict::Deny, "no policy permits it"),
        (order(), Verdict::Indeterminate, "total"),
        (order().attribute("total", 5.5), Verdict::Indeterminate, "total"),
        (order().attribute("total", "5"), Verdict::Indeterminate, "total"),
        (order().attribute("total", 5).attribute("totl", 6), Verdict::Indeterminate, "totl"),
        (Resource::new("invoice", "1"), Verdict::Indeterminate, "invoice"),
        (Resource::new("User", "1"), Verdict::Indeterminate, "User"),
    ];
    for (resource, verdict, what) in rows {
        let asked = get("/orders/7").as_user(clerk(&json!({})));
        let opinion = object(&policies(), asked, "orders:read", &resource).await;
        assert_eq!(opinion.verdict(), verdict, "{resource:?}: {}", opinion.reason());
        assert!(opinion.reason().contains(what), "{}", opinion.reason());
    }
}

#[tokio::test]
async fn a_schema_may_be_json_and_types_may_have_names_in_other_namespaces() {
    let schema = json!({
        "": {
            "commonTypes": { "Said": { "type": "Kit::Claims" } },
            "entityTypes": {
                "Route": {}, "Role": {},
                "User": { "memberOfTypes": ["Role"], "shape": { "type": "Record", "attributes": {
                    "claims": { "type": "Said" },
                } } },
            },
            "actions": { "GET": { "appliesTo": {
                "principalTypes": ["User"], "resourceTypes": ["Route"],
                "context": { "type": "Call" },
            } } },
        },
        "Kit": {
            "commonTypes": {
                "Level": { "type": "Long" },
                "Claims": { "type": "Record", "attributes": {
                    "level": { "type": "Level", "required": false },
                } },
            },
            "entityTypes": {}, "actions": {},
        },
    });
    let mut schema = schema;
    schema[""]["commonTypes"]["Call"] =
        json!({ "type": "Record", "attributes": { "time": { "type": "Long" } } });
    let text = "permit(principal, action, resource) when { principal.claims has level && context.time > 0 };";
    let policies = CedarPolicies::builder(text).schema(schema.to_string()).build().unwrap();
    let asked = get("/orders/7").as_user(clerk(&json!({ "level": 3, "sub": "ada" })));
    assert_eq!(ask(&policies, asked).await, (200, "by policy policy0".to_owned()));
}
