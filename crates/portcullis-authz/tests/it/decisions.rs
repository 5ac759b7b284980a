//! What the layer leaves in the context, and what it does when the layers before it are missing.
use portcullis_authz::AuthorizeLayer;
use portcullis_core::{
    Requirement, Routes, Verdict, authenticated, optional, policy, public, require,
};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestClient, TestRequest, as_user, get};
use tower::ServiceBuilder;

use crate::support::{Endpoint, roles, send};

#[tokio::test]
async fn the_decision_says_what_was_decided_by_which_rule_and_why() {
    let routes = Routes::builder()
        .get("/public", Endpoint::default())
        .rule(public())
        .get("/optional", Endpoint::default())
        .rule(optional())
        .get("/me", Endpoint::default())
        .rule(authenticated())
        .get("/books", Endpoint::default())
        .rule(require("books:read"))
        .get("/keys", Endpoint::default())
        .rule(require("books:read").step_up())
        .get("/rooms", Endpoint::default())
        .rule(policy("owner"))
        .build()
        .unwrap();
    let table = routes.table().clone();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let service = layers.service(routes.into_service());
    let (reader, ada) = (Some(as_user("rita").roles(["reader"])), Some(as_user("ada")));
    let rows: [(&str, Option<AsUser>, u16, Verdict, &str); 12] = [
        ("/public", None, 200, Verdict::Allow, "public"),
        ("/optional", None, 200, Verdict::Allow, "optional"),
        ("/optional", ada.clone(), 200, Verdict::Allow, "optional"),
        ("/me", ada.clone(), 200, Verdict::Allow, "authenticated"),
        ("/me", None, 401, Verdict::Deny, "not-authenticated"),
        ("/books", reader.clone(), 200, Verdict::Allow, "permission-granted"),
        ("/books", ada.clone(), 403, Verdict::Deny, "permission-missing"),
        ("/books", None, 401, Verdict::Deny, "not-authenticated"),
        ("/keys", reader.clone(), 401, Verdict::StepUp, "assurance-too-low"),
        ("/keys", ada.clone(), 403, Verdict::Deny, "permission-missing"),
        // Assembled by hand, since no stack starts with a policy that nobody defines.
        ("/rooms", reader, 503, Verdict::Indeterminate, "policy-unknown"),
        ("/rooms", None, 401, Verdict::Deny, "not-authenticated"),
    ];
    for (path, caller, status, verdict, reason) in rows {
        let request = get(path);
        let request = match caller {
            Some(caller) => request.as_user(caller),
            None => request,
        };
        let (answered, context) = send(service.clone(), request).await;
        assert_eq!(answered, status, "{path} {reason}");
        let decision = context.decision().unwrap_or_else(|| panic!("{path} {reason}"));
        let route = table.routes().find(|route| route.template() == path).unwrap();
        assert_eq!((decision.verdict(), decision.reason()), (verdict, reason), "{path}");
        assert_eq!(decision.route(), Some(&route), "{path} {reason}");
        assert_eq!(decision.rule(), route.access().requirement(), "{path} {reason}");
        assert_eq!(decision.allows(&route), status == 200, "{path} {reason}");
        let notes = context.explain().unwrap().notes();
        let note = notes.iter().rfind(|note| note.stage == "authorize").unwrap();
        let by = if reason == "permission-granted" { ", by role reader" } else { "" };
        assert_eq!(note.text, format!("{verdict}: {}: {reason}{by}", decision.rule()), "{path}");
    }
}

#[tokio::test]
async fn scopes_and_issuers_are_asked_for_beside_what_roles_permit() {
    let both = require("books:read").scope("books").scope("catalog");
    let routes = Routes::builder()
        .get("/books", Endpoint::default())
        .rule(both)
        .get("/maybe", Endpoint::default())
        .rule(optional().scope("books"))
        .get("/ours", Endpoint::default())
        .rule(authenticated().issuer("https://id.example").issuer("api-key"))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let service = layers.service(routes.into_service());
    let reader = || as_user("rita").roles(["reader"]);
    let rows: [(&str, Option<AsUser>, u16, &str); 8] = [
        ("/books", Some(reader().scopes(["catalog", "books"])), 200, "permission-granted"),
        ("/books", Some(reader().scopes(["books"])), 403, "scope-missing"),
        ("/books", Some(reader().scopes(["books", "catalogs"])), 403, "scope-missing"),
        // No scopes are none, not all.
        ("/books", Some(reader()), 403, "scope-missing"),
        ("/books", Some(as_user("ada").scopes(["books", "catalog"])), 403, "permission-missing"),
        ("/maybe", Some(as_user("ada")), 403, "scope-missing"),
        ("/maybe", None, 200, "optional"),
        ("/ours", Some(as_user("ada")), 403, "issuer-not-taken"),
    ];
    for (path, caller, status, reason) in rows {
        let request = caller.into_iter().fold(get(path), TestRequest::as_user);
        let (answered, context) = send(service.clone(), request).await;
        let decision = context.decision().unwrap();
        assert_eq!((answered.as_u16(), decision.reason()), (status, reason), "{path}");
    }
    let answer = TestClient::new(service).get("/books").as_user(reader()).send().await;
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"books catalog\"");
    answer.assert_problem("scope-insufficient");
}

#[tokio::test]
async fn without_authentication_in_front_only_public_routes_are_served() {
    let endpoint = Endpoint::default();
    let routes = Routes::builder()
        .get("/public", endpoint.clone())
        .rule(public())
        .get("/optional", endpoint.clone())
        .rule(optional())
        .get("/me", endpoint.clone())
        .rule(authenticated())
        .get("/books", endpoint.clone())
        .rule(require("books:read"))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new().layer(routes.layer()).layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(layers.service(routes.into_service()));
    client.get("/public").send().await.assert_status(200);
    for path in ["/optional", "/me", "/books"] {
        let answer = client.get(path).as_user(as_user("root").roles(["root"])).send().await;
        answer.assert_status(500).assert_problem("authentication-missing");
    }
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test]
async fn without_a_route_and_without_a_requirement_nobody_passes() {
    let endpoint = Endpoint::default();
    let root = as_user("root").roles(["root"]);
    let layers = ServiceBuilder::new().layer(root).layer(AuthorizeLayer::new(roles()));
    let service = layers.service(endpoint.clone());
    let client = TestClient::new(service.clone());
    client.get("/").send().await.assert_status(500).assert_problem("authorization-missing");
    let (_, context) = send(service, get("/")).await;
    assert!(context.decision().is_none(), "nothing was decided");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test]
async fn two_layers_that_decide_about_one_request_are_a_conflict() {
    let endpoint = Endpoint::default();
    let routes = Routes::builder().get("/me", ()).authenticated().build().unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(as_user("ada"))
        .layer(AuthorizeLayer::new(roles()))
        .layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(layers.service(endpoint.clone()));
    client.get("/me").send().await.assert_status(500).assert_problem("context-conflict");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test]
async fn one_layer_serves_several_tables() {
    let layer = AuthorizeLayer::new(roles());
    let table = |permission| {
        Routes::builder().get("/", Endpoint::default()).rule(require(permission)).build().unwrap()
    };
    for (permission, statuses) in [
        ("books:read", [200, 200, 200]),
        ("orders:read", [403, 200, 200]),
        ("vault:open", [403, 403, 200]),
    ] {
        for (role, status) in ["reader", "clerk", "root"].into_iter().zip(statuses) {
            let routes = table(permission);
            let layers = ServiceBuilder::new()
                .layer(routes.layer())
                .layer(as_user("ada").roles([role]))
                .layer(layer.clone());
            let (answered, context) = send(layers.service(routes.into_service()), get("/")).await;
            assert_eq!(answered, status, "{role} for {permission}");
            let rule = context.decision().unwrap().rule().clone();
            assert_eq!(rule, Requirement::Permission(permission.into()), "{role}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_in_the_way() {
    let roles = portcullis_authz::Roles::builder().role("buyer").permits("orders:write");
    let roles = roles.role("payer").permits("orders:pay").permits_own("orders:read");
    let roles = roles.role("auditor").permits("orders:read");
    let roles = roles.separates_statically("money", &["buyer", "payer"], 2).build().unwrap();
    let routes = Routes::builder()
        .get("/write", Endpoint::default())
        .rule(require("orders:write"))
        .get("/read", Endpoint::default())
        .rule(require("orders:read"))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles));
    let service = layers.service(routes.into_service());
    for (path, roles, reason) in [
        ("/write", &["buyer"][..], "permission-granted"),
        ("/write", &["payer"], "permission-missing"),
        ("/write", &["buyer", "payer"], "roles-kept-apart"),
        ("/read", &["payer"], "permission-with-some-alone"),
    ] {
        let caller = as_user("ada").roles(roles.iter().copied());
        let (_, context) = send(service.clone(), get(path).as_user(caller)).await;
        assert_eq!(context.decision().unwrap().reason(), reason, "{path} {roles:?}");
    }
}
