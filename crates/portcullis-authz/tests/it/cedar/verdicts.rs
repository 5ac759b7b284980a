//! What comes of what policies say.
use portcullis_authz::cedar::CedarPolicies;
use portcullis_authz::cedar::cedar_policy::{Context, Decision, Entities, Request};
use portcullis_core::Verdict;
use portcullis_testkit::{as_user, get, request};

use super::{ask, sent};

const OFFICE: &str = r#"
    @id("clerks")
    permit(principal in Role::"clerk", action == Action::"GET", resource);
    @id("readers")
    permit(principal in Role::"reader", action == Action::"GET", resource);
    @id("suspended")
    forbid(principal, action, resource) when { principal.claims.suspended };
"#;

#[tokio::test]
async fn the_policies_that_decide_are_named() {
    let policies = CedarPolicies::new(OFFICE).unwrap();
    let caller = |suspended: Option<bool>, roles: &[&'static str]| {
        let claims = suspended.map(|it| ("suspended".to_owned(), it.into()));
        let claims = claims.into_iter().collect();
        as_user("ada").roles(roles.iter().copied()).with(|it| it.claims(claims))
    };
    let missing =
        "policy suspended cannot be evaluated: record does not have the attribute `suspended`";
    let rows = [
        (Some(false), &["clerk"][..], 200, "by policy clerks".to_owned()),
        (Some(false), &["reader", "clerk"], 200, "by policies clerks, readers".to_owned()),
        (Some(false), &[], 403, "no policy permits it".to_owned()),
        (Some(true), &["clerk"], 403, "by policy suspended".to_owned()),
        // A forbid that cannot be evaluated lets nobody in.
        (None, &["clerk"], 503, missing.to_owned()),
        (None, &[], 403, format!("no policy permits it; {missing}")),
    ];
    for (suspended, roles, status, reason) in rows {
        let asked = get("/orders/7").as_user(caller(suspended, roles));
        assert_eq!(ask(&policies, asked).await, (status, reason), "{suspended:?} {roles:?}");
    }
    let asked = request(http::Method::HEAD, "/orders/7").as_user(caller(Some(false), &["clerk"]));
    assert_eq!(ask(&policies, asked).await.0, 200, "HEAD is GET");
}

#[tokio::test]
async fn a_reason_does_not_say_who_it_was() {
    let text = "forbid(principal, action, resource) when { principal.plan == \"none\" };
                permit(principal, action, resource);";
    let policies = CedarPolicies::new(text).unwrap();
    let (status, reason) = ask(&policies, get("/orders/7").as_user("ada|\"lovelace")).await;
    assert_eq!(status, 503);
    let why = "policy policy0 cannot be evaluated: the caller does not have the attribute `plan`";
    assert_eq!(reason, why);
}

#[tokio::test]
async fn what_cannot_be_told_is_503_and_nobody_is_asked_who_is_unknown() {
    let policies = CedarPolicies::new(OFFICE).unwrap();
    let (status, context) =
        sent(&policies, get("/orders/7").as_user(as_user("ada").roles(["clerk"]))).await;
    assert_eq!(status, 503);
    assert_eq!(context.decision().unwrap().verdict(), Verdict::Indeterminate);
    assert_eq!(context.problem().unwrap().kind().slug(), "authorization-unavailable");
    let all = CedarPolicies::new("permit(principal, action, resource);").unwrap();
    assert_eq!(ask(&all, get("/orders/7")).await, (401, "not-authenticated".to_owned()));
}

#[tokio::test]
async fn without_a_policy_nobody_may() {
    let none = CedarPolicies::new("").unwrap();
    let root = as_user("root").roles(["root"]);
    let answer = ask(&none, get("/orders/7").as_user(root)).await;
    assert_eq!(answer, (403, "no policy permits it".to_owned()));
}

#[test]
fn an_answer_is_cedars_own() {
    let text = r#"
        @id("all") permit(principal, action, resource);
        permit(principal, action, resource);
        @id("odd") forbid(principal, action, resource) when { context.absent };
        @id("even") permit(principal, action, resource) when { context.absent };
    "#;
    let policies = CedarPolicies::new(text).unwrap();
    assert_eq!(policies.names().collect::<Vec<_>>(), ["all", "even", "odd", "policy1"]);
    let uid = |text: &str| text.parse().unwrap();
    let asked = Request::new(
        uid("A::\"a\""),
        uid("Action::\"b\""),
        uid("C::\"c\""),
        Context::empty(),
        None,
    );
    let answer = policies.decide(&asked.unwrap(), &Entities::empty());
    assert_eq!(answer.decision(), Decision::Allow);
    assert_eq!(answer.determining().collect::<Vec<_>>(), ["all", "policy1"]);
    let why = "record does not have the attribute `absent`";
    assert_eq!(answer.erroring().collect::<Vec<_>>(), [("even", why), ("odd", why)]);
    assert_eq!(answer.opinion().verdict(), Verdict::Indeterminate);
}
