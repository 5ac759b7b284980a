//! Entities that the request does not carry.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use portcullis_authz::cedar::cedar_policy::Entity;
use portcullis_authz::cedar::{CedarPolicies, EntityProvider};
use portcullis_authz::{Question, Resource};
use portcullis_core::{BoxError, Verdict};
use portcullis_testkit::{as_user, get};
use serde_json::{Value, json};

use super::{ask, object};

fn entity(kind: &str, id: &str, attributes: &Value, parents: &[(&str, &str)]) -> Entity {
    let parents = parents.iter().map(|(kind, id)| json!({ "type": kind, "id": id }));
    let parents: Vec<_> = parents.collect();
    let uid = json!({ "type": kind, "id": id });
    let json = json!({ "uid": uid, "attrs": attributes, "parents": parents });
    Entity::from_json_value(json, None).unwrap()
}

/// A table that is far away, or gone.
#[derive(Clone, Default)]
struct Far {
    is_gone: bool,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl EntityProvider for Far {
    fn entities_now(&self, _: &Question<'_>) -> Option<Result<Vec<Entity>, BoxError>> {
        None
    }
    async fn entities(&self, question: &Question<'_>) -> Result<Vec<Entity>, BoxError> {
        tokio::task::yield_now().await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_gone {
            return Err("the table is gone".into());
        }
        let key = question.identity().key().to_string();
        let order = question.parameter("id").unwrap_or("0");
        let desk = if order == "7" { 7 } else { 8 };
        Ok(vec![
            entity("User", &key, &json!({ "desk": desk, "subject": "ada" }), &[("Group", "night")]),
            entity("Group", "night", &json!({}), &[("Group", "everybody")]),
        ])
    }
}

const TEXT: &str = r#"
    permit(principal in Group::"everybody", action, resource)
    when { principal.desk == 7 && principal.subject == "ada" && principal in Role::"clerk" };
"#;

#[tokio::test]
async fn a_provider_may_have_to_ask_somebody() {
    let far = Far::default();
    let policies = CedarPolicies::builder(TEXT).entities(far.clone()).build().unwrap();
    let clerk = || as_user("ada").roles(["clerk"]);
    assert_eq!(ask(&policies, get("/orders/7").as_user(clerk())).await.0, 200);
    assert_eq!(ask(&policies, get("/orders/8").as_user(clerk())).await.0, 403, "another desk");
    assert_eq!(ask(&policies, get("/orders/7").as_user("ada")).await.0, 403, "no clerk");
    assert_eq!(far.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_provider_that_cannot_tell_lets_nobody_in() {
    let far = Far { is_gone: true, ..Far::default() };
    let all = "permit(principal, action, resource);";
    let policies = CedarPolicies::builder(all).entities(far).build().unwrap();
    let reason = "what policies have to know of cannot be told: the table is gone";
    let answer = ask(&policies, get("/orders/7").as_user("ada")).await;
    assert_eq!(answer, (503, reason.to_owned()));
    let thing = Resource::new("thing", "1");
    let opinion = object(&policies, get("/orders/7").as_user("ada"), "read", &thing).await;
    assert_eq!((opinion.verdict(), opinion.reason()), (Verdict::Indeterminate, reason));

    let at_once = |_: &Question<'_>| -> Result<Vec<Entity>, BoxError> { Err("no memory".into()) };
    let policies = CedarPolicies::builder(all).entities(at_once).build().unwrap();
    assert_eq!(ask(&policies, get("/orders/7").as_user("ada")).await.0, 503);
}

#[tokio::test]
async fn what_contradicts_the_request_or_itself_is_not_believed() {
    let all = "permit(principal, action, resource);";
    for (entities, what) in [
        (
            vec![entity("User", "test||ada", &json!({ "subject": "eve" }), &[])],
            "two values of `subject`",
        ),
        (
            vec![
                entity("Group", "a", &json!({}), &[]),
                entity("Group", "a", &json!({ "x": 1 }), &[]),
            ],
            "`Group::\"a\"` twice",
        ),
        (
            vec![
                entity("Group", "a", &json!({}), &[("Group", "b")]),
                entity("Group", "b", &json!({}), &[("Group", "a")]),
            ],
            "does not fit together",
        ),
    ] {
        let provider =
            move |_: &Question<'_>| -> Result<Vec<Entity>, BoxError> { Ok(entities.clone()) };
        let policies = CedarPolicies::builder(all).entities(provider).build().unwrap();
        let (status, reason) = ask(&policies, get("/orders/7").as_user("ada")).await;
        assert_eq!(status, 503);
        assert!(reason.contains(what) && !reason.contains("ada"), "{reason}");
    }
}

#[tokio::test]
async fn static_entities_are_there_for_every_request() {
    let roles = json!([
        { "uid": { "type": "Role", "id": "manager" }, "attrs": {}, "parents": [{ "type": "Role", "id": "clerk" }] },
        { "uid": { "type": "Role", "id": "clerk" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Tenant", "id": "acme" }, "attrs": { "paid": true }, "parents": [] },
        { "uid": { "type": "order", "id": "1" }, "attrs": { "secret": true }, "parents": [{ "type": "Tenant", "id": "acme" }] },
    ]);
    let text = r#"
        permit(principal in Role::"clerk", action, resource) when { Tenant::"acme".paid };
        forbid(principal, action, resource in Tenant::"acme") when { resource.secret && resource.total > 5 };
    "#;
    let builder = CedarPolicies::builder(text).entities_json(roles.to_string());
    let policies = builder.build().unwrap();
    let manager = || as_user("ada").roles(["manager"]);
    assert_eq!(ask(&policies, get("/orders/7").as_user(manager())).await.0, 200);
    assert_eq!(ask(&policies, get("/orders/7").as_user("ada")).await.0, 403);
    for (total, verdict) in [(5, Verdict::Allow), (6, Verdict::Deny)] {
        let order = Resource::new("order", "1").attribute("total", total);
        let asked = get("/orders/7").as_user(manager());
        let opinion = object(&policies, asked, "read", &order).await;
        assert_eq!(opinion.verdict(), verdict, "{}", opinion.reason());
    }
}

#[tokio::test]
async fn who_asks_may_be_what_is_asked_about() {
    let text = "permit(principal, action, resource) when { principal == resource && principal has issuer };";
    let policies = CedarPolicies::new(text).unwrap();
    for (id, verdict) in [("test||ada", Verdict::Allow), ("test||eve", Verdict::Deny)] {
        let account = Resource::new("User", id);
        let opinion = object(&policies, get("/orders/7").as_user("ada"), "read", &account).await;
        assert_eq!(opinion.verdict(), verdict, "{}", opinion.reason());
    }
}
