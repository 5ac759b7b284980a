//! A stronger or a fresher proof of identity.
use std::time::Duration;

use portcullis_authz::{AuthorizeLayer, Opinion, Question};
use portcullis_core::{EdgeLayer, Routes, Stack, StepUp, Verdict, authenticated, policy, require};
use portcullis_testkit::{AsUser, FakeTime, StubAuthenticateLayer, TestClient, as_user, get};
use tower::ServiceBuilder;

use crate::support::{Endpoint, roles, send};

const MINUTE: Duration = Duration::from_secs(60);

/// What is said of an insufficient proof, and what would do.
fn challenge(answer: &portcullis_testkit::TestResponse) -> &str {
    let challenge = answer.header("www-authenticate").unwrap();
    let (scheme, rest) = challenge.split_once(' ').unwrap();
    assert!(["Bearer", "DPoP"].contains(&scheme), "{challenge}");
    rest.strip_prefix("error=\"insufficient_user_authentication\"").unwrap()
}

#[tokio::test]
async fn a_log_in_of_the_last_five_minutes_is_asked_for() {
    let time = FakeTime::new();
    let endpoint = Endpoint::default();
    let routes = Routes::builder()
        .get("/keys", endpoint.clone())
        .rule(authenticated().step_up_to(StepUp::fresh(5 * MINUTE)))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(layers.service(routes.into_service())).clock(time.clock());
    let (now, second) = (time.clock().wall(), Duration::from_secs(1));
    let at = |at| as_user("ada").with(|who| who.authenticated_at(at));
    for (what, caller, passes) in [
        ("now", at(now), true),
        ("just in time", at(now - 5 * MINUTE), true),
        ("a moment too long ago", at(now - 5 * MINUTE - Duration::from_nanos(1)), false),
        ("too long ago", at(now - 5 * MINUTE - second), false),
        ("long ago", at(std::time::SystemTime::UNIX_EPOCH), false),
        ("nobody knows when", as_user("ada"), false),
        ("nobody knows when, at level 3", as_user("ada").with(|who| who.assurance(3)), false),
        // The clock of whoever vouches for it may be ahead.
        ("in the future", at(now + second), true),
    ] {
        let calls = endpoint.calls();
        let answer = client.get("/keys").as_user(caller).send().await;
        assert_eq!(answer.status(), if passes { 200 } else { 401 }, "{what}");
        assert_eq!(endpoint.calls() - calls, usize::from(passes), "{what}");
        if !passes {
            answer.assert_problem("step-up-required");
            assert_eq!(challenge(&answer), ", max_age=\"300\"", "{what}");
        }
    }
    client.get("/keys").send().await.assert_problem("authentication-required");

    // Time goes by.
    let caller = at(now);
    for (passed, status) in [(4 * MINUTE, 200), (MINUTE, 200), (second, 401)] {
        time.advance(passed);
        client.get("/keys").as_user(caller.clone()).send().await.assert_status(status);
    }
}

#[tokio::test]
async fn a_level_and_an_age_are_both_asked_for() {
    let time = FakeTime::new();
    let asked = StepUp::default().at_level(3).within(10 * MINUTE);
    let routes = Routes::builder()
        .get("/keys", Endpoint::default())
        .rule(require("orders:write").step_up_to(asked))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let service = layers.service(routes.into_service());
    let client = TestClient::new(service.clone()).clock(time.clock());
    let now = time.clock().wall();
    let clerk = |level: u8, ago: Duration| {
        let proof = |who: portcullis_core::IdentityBuilder| {
            who.assurance(level).authenticated_at(now - ago)
        };
        as_user("carl").roles(["clerk"]).with(proof)
    };
    for (caller, reason) in [
        (clerk(3, MINUTE), None),
        (clerk(2, MINUTE), Some("assurance-too-low")),
        (clerk(3, 11 * MINUTE), Some("log-in-too-long-ago")),
        (clerk(1, 11 * MINUTE), Some("assurance-too-low")),
    ] {
        let answer = client.get("/keys").as_user(caller.clone()).send().await;
        assert_eq!(answer.status(), if reason.is_some() { 401 } else { 200 }, "{reason:?}");
        let (_, context) =
            send(service.clone(), get("/keys").as_user(caller).clock(time.clock())).await;
        let decision = context.decision().unwrap();
        if let Some(reason) = reason {
            // All that is asked for, so that one log-in is enough.
            assert_eq!(challenge(&answer), ", acr_values=\"3\", max_age=\"600\"");
            assert_eq!((decision.verdict(), decision.reason()), (Verdict::StepUp, reason));
        }
        assert_eq!(decision.rule().to_string(), "permission orders:write");
    }
    // More proof would not help.
    let reader = as_user("rita").roles(["reader"]);
    client.get("/keys").as_user(reader).send().await.assert_problem("permission-denied");
}

#[tokio::test]
async fn whoever_came_with_a_bound_token_is_asked_by_its_scheme() {
    let routes = Routes::builder()
        .get("/keys", Endpoint::default())
        .rule(authenticated().step_up())
        .get("/scoped", Endpoint::default())
        .rule(authenticated().scope("keys"))
        .get("/late", Endpoint::default())
        .rule(policy("late"))
        .build()
        .unwrap();
    let late = |_: &Question<'_>| Opinion::step_up("it is late");
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).policy("late", late));
    let client = TestClient::new(layers.service(routes.into_service()));
    let plain = || as_user("ada");
    let bound = || as_user("ada").with(|who| who.method("pwd").method("dpop"));
    // A method that is named alike is another one.
    let alike = || as_user("ada").with(|who| who.method("DPoP"));
    let rows: [(AsUser, &str); 3] = [(plain(), "Bearer"), (bound(), "DPoP"), (alike(), "Bearer")];
    for (caller, scheme) in rows {
        for (path, status, rest) in [
            ("/keys", 401, "error=\"insufficient_user_authentication\", acr_values=\"2\""),
            // A policy does not say which proof would do: two factors.
            ("/late", 401, "error=\"insufficient_user_authentication\", acr_values=\"2\""),
            ("/scoped", 403, "error=\"insufficient_scope\", scope=\"keys\""),
        ] {
            let answer = client.get(path).as_user(caller.clone()).send().await;
            answer.assert_status(status);
            assert_eq!(answer.header("www-authenticate"), Some(&*format!("{scheme} {rest}")));
        }
    }
}

#[test]
fn a_step_up_that_nobody_could_do_is_an_error_at_start() {
    let start = |asked: StepUp| {
        let rule = authenticated().step_up_to(asked);
        let routes = Routes::builder().get("/", Endpoint::default()).rule(rule).build().unwrap();
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles()));
        stack.around(routes).map(|_| ()).map_err(|errors| errors.to_string())
    };
    let mut nothing = StepUp::fresh(MINUTE);
    nothing.max_age = None;
    for asked in [
        StepUp::default().at_level(0),
        StepUp::default().at_level(4),
        StepUp::fresh(Duration::ZERO),
        StepUp::default().within(Duration::ZERO),
        nothing,
    ] {
        let told = start(asked).unwrap_err();
        assert!(told.starts_with("route `GET /`: its step-up asks for nothing"), "{told}");
    }
    for asked in [StepUp::default(), StepUp::default().at_level(1), StepUp::fresh(MINUTE)] {
        assert_eq!(start(asked), Ok(()), "{asked:?}");
    }
}
