//! Who gets what answer, over a whole stack.
use portcullis_authz::AuthorizeLayer;
use portcullis_core::{EdgeLayer, Routes, Stack, authenticated, optional, policy, public, require};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestClient, as_user};
use tower::ServiceBuilder;

use crate::support::{Endpoint, roles, without_schemes};

/// A path for each requirement.
const PATHS: [&str; 7] =
    ["/public", "/optional", "/me", "/books", "/orders", "/orders/audit", "/vault"];

fn routes(endpoint: &Endpoint) -> Routes<Endpoint, portcullis_core::route::Restricted> {
    let rules = [
        public().restricted(),
        optional(),
        authenticated(),
        require("books:read"),
        require("orders:write"),
        require("orders:audit:all"),
        // Only `*` permits it.
        require("vault:open"),
    ];
    let routes = PATHS
        .into_iter()
        .zip(rules)
        .fold(Routes::builder().restricted(), |routes, (path, rule)| {
            routes.any(path, endpoint.clone()).rule(rule)
        });
    routes.build().unwrap()
}

#[tokio::test]
async fn each_caller_gets_what_their_roles_grant() {
    let endpoint = Endpoint::default();
    let routes = routes(&endpoint);
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(stack.around(routes).unwrap());
    // In the order of `PATHS`.
    let rows: [(&str, Option<AsUser>, [u16; 7]); 8] = [
        ("nobody", None, [200, 200, 401, 401, 401, 401, 401]),
        ("no role", Some(as_user("ada")), [200, 200, 200, 403, 403, 403, 403]),
        ("its own permission", Some(role(["reader"])), [200, 200, 200, 200, 403, 403, 403]),
        ("inherited, and a wildcard", Some(role(["clerk"])), [200, 200, 200, 200, 200, 200, 403]),
        ("everything", Some(role(["root"])), [200; 7]),
        ("an unknown role", Some(role(["ghost"])), [200, 200, 200, 403, 403, 403, 403]),
        ("another spelling", Some(role(["Clerk"])), [200, 200, 200, 403, 403, 403, 403]),
        ("one of several", Some(role(["ghost", "clerk"])), [200, 200, 200, 200, 200, 200, 403]),
    ];
    for (what, caller, statuses) in rows {
        for (path, status) in PATHS.into_iter().zip(statuses) {
            let before = endpoint.calls();
            let request = client.post(path);
            let answer = match caller.clone() {
                Some(caller) => request.as_user(caller).send().await,
                None => request.send().await,
            };
            assert_eq!(answer.status(), status, "{what} at {path}");
            let (problem, challenge) = match status {
                401 => (Some("authentication-required"), Some("Stub")),
                403 => (Some("permission-denied"), None),
                _ => (None, None),
            };
            assert_eq!(answer.problem(), problem, "{what} at {path}");
            assert_eq!(answer.header("www-authenticate"), challenge, "{what} at {path}");
            assert_eq!(endpoint.calls() - before, usize::from(status == 200), "{what} at {path}");
        }
    }
}

fn role<const N: usize>(roles: [&str; N]) -> AsUser {
    as_user("ada").roles(roles.map(str::to_owned))
}

#[tokio::test]
async fn where_nobody_can_say_who_they_are_it_is_403() {
    let routes = routes(&Endpoint::default());
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .map_request(without_schemes)
        .layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(layers.service(routes.into_service()));
    for (path, status) in [("/public", 200), ("/optional", 200), ("/me", 403), ("/books", 403)] {
        let answer = client.get(path).send().await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.header("www-authenticate"), None, "{path}");
    }
}

#[tokio::test]
async fn a_step_up_asks_for_two_factors_from_those_who_may() {
    let routes = Routes::builder()
        .get("/me/password", Endpoint::default())
        .rule(authenticated().step_up())
        .get("/orders", Endpoint::default())
        .rule(require("orders:write").step_up())
        .get("/hello", Endpoint::default())
        .rule(optional().step_up())
        .build()
        .unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let client = TestClient::new(stack.around(routes).unwrap());
    let level = |level| Some(as_user("carl").roles(["clerk"]).with(|who| who.assurance(level)));
    let reader = |level| Some(as_user("rita").roles(["reader"]).with(|who| who.assurance(level)));
    let (step_up, denied) = ("step-up-required", "permission-denied");
    for (what, path, caller, problem) in [
        ("level unknown", "/me/password", Some(as_user("ada")), Some(step_up)),
        ("level 0", "/me/password", level(0), Some(step_up)),
        ("level 1", "/me/password", level(1), Some(step_up)),
        ("level 2", "/me/password", level(2), None),
        ("level 3", "/me/password", level(3), None),
        ("nobody", "/me/password", None, Some("authentication-required")),
        ("a clerk at level 1", "/orders", level(1), Some(step_up)),
        ("a clerk at level 2", "/orders", level(2), None),
        // More proof would not help, so none is asked for.
        ("a reader at level 1", "/orders", reader(1), Some(denied)),
        ("a reader at level 2", "/orders", reader(2), Some(denied)),
        ("nobody on an optional route", "/hello", None, Some("authentication-required")),
        ("level 2 on an optional route", "/hello", level(2), None),
    ] {
        let request = client.get(path);
        let answer = match caller {
            Some(caller) => request.as_user(caller).send().await,
            None => request.send().await,
        };
        assert_eq!(answer.problem(), problem, "{what}");
        if problem == Some(step_up) {
            answer.assert_status(401);
            // RFC 9470, section 3.
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(
                challenge.contains("error=\"insufficient_user_authentication\""),
                "{challenge}"
            );
            assert!(challenge.contains("acr_values=\"2\""), "{challenge}");
        }
    }
}

#[test]
fn what_nobody_could_ever_call_is_an_error_at_start() {
    let roles = portcullis_authz::Roles::builder().role("clerk").permits("orders:*").build();
    let routes = Routes::builder()
        .get("/orders", Endpoint::default())
        .rule(require("orders:read"))
        .get("/books", Endpoint::default())
        .rule(require("books:read"))
        .get("/vault", Endpoint::default())
        .rule(require("order:read"))
        .get("/rooms", Endpoint::default())
        .rule(policy("owner"))
        .build()
        .unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles.unwrap()));
    let Err(errors) = stack.around(routes) else { panic!("it started") };
    let places: Vec<_> = errors.iter().map(portcullis_core::ConfigError::place).collect();
    assert_eq!(places, ["route `GET /books`", "route `GET /vault`", "route `GET /rooms`"]);
    for name in ["`books:read`", "`order:read`", "`owner`"] {
        assert!(errors.to_string().contains(name), "{errors}");
    }
}
