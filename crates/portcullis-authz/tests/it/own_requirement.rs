//! A layer with a requirement of its own, alone and together with a table.
use portcullis_authz::AuthorizeLayer;
use portcullis_core::{
    EdgeLayer, Requirement, Routes, Stack, Verdict, authenticated, optional, require,
};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestClient, as_user, get};
use tower::ServiceBuilder;

use crate::support::{Endpoint, roles, send, without_schemes};

fn callers() -> [Option<AsUser>; 4] {
    let of = |role: &'static str| Some(as_user(role).roles([role]));
    [None, of("reader"), of("clerk"), of("root")]
}

#[tokio::test]
async fn alone_it_needs_no_table() {
    let endpoint = Endpoint::default();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).require("orders:read"));
    let service = layers.service(endpoint.clone());
    let client = TestClient::new(service.clone());
    for (caller, status) in callers().into_iter().zip([401, 403, 200, 200]) {
        let request = client.get("/any/path");
        let answer = match caller {
            Some(caller) => request.as_user(caller).send().await,
            None => request.send().await,
        };
        answer.assert_status(status);
    }
    assert_eq!(endpoint.calls(), 2);

    let (_, context) = send(service, get("/").as_user(as_user("carl").roles(["clerk"]))).await;
    let decision = context.decision().unwrap();
    assert_eq!((decision.verdict(), decision.route()), (Verdict::Allow, None));
    assert_eq!(*decision.rule(), Requirement::Permission("orders:read".into()));
}

#[tokio::test]
async fn alone_it_needs_to_know_who_asks() {
    let layer = AuthorizeLayer::new(roles()).require("orders:read");
    let client =
        TestClient::new(ServiceBuilder::new().layer(layer.clone()).service(Endpoint::default()));
    client.get("/").send().await.assert_status(500).assert_problem("authentication-missing");
    let layers = ServiceBuilder::new().map_request(without_schemes).layer(layer);
    let client = TestClient::new(layers.service(Endpoint::default()));
    client.get("/").send().await.assert_status(403).assert_problem("permission-denied");
}

#[tokio::test]
async fn together_with_a_table_both_must_allow() {
    let routes = Routes::builder()
        .get("/optional", Endpoint::default())
        .rule(optional())
        .get("/me", Endpoint::default())
        .rule(authenticated())
        .get("/books", Endpoint::default())
        .rule(require("books:read"))
        .get("/vault", Endpoint::default())
        .rule(require("vault:open"))
        .build()
        .unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).require("orders:read"));
    let client = TestClient::new(stack.around(routes).unwrap());
    for (path, statuses) in [
        ("/optional", [401, 403, 200, 200]),
        ("/me", [401, 403, 200, 200]),
        // The reader has what the route asks for, and not what the layer does.
        ("/books", [401, 403, 200, 200]),
        // The clerk has what the layer asks for, and not what the route does.
        ("/vault", [401, 403, 403, 200]),
    ] {
        for (caller, status) in callers().into_iter().zip(statuses) {
            let request = client.get(path);
            let request = match caller {
                Some(caller) => request.as_user(caller),
                None => request,
            };
            request.send().await.assert_status(status);
        }
    }
}

#[test]
fn a_public_route_behind_it_is_an_error_at_start() {
    // Nobody's credentials are looked at there, so nobody would ever have the permission.
    let routes = Routes::builder().get("/", Endpoint::default()).public().build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer());
    let stack = stack.layer(StubAuthenticateLayer::new());
    let stack = stack.layer(AuthorizeLayer::new(roles()).require("orders:read"));
    let Err(errors) = stack.around(routes) else { panic!("it started") };
    assert!(errors.to_string().starts_with("route `GET /`: it is public"), "{errors}");
}

#[test]
fn a_permission_that_nobody_has_is_an_error_at_start() {
    let stack = Stack::new().layer(EdgeLayer::default()).layer(StubAuthenticateLayer::new());
    let layer = AuthorizeLayer::new(portcullis_authz::Roles::builder().build().unwrap());
    let stack = stack.layer(layer.require("orders:read"));
    let Err(errors) = stack.service(Endpoint::default()) else { panic!("it started") };
    assert_eq!(errors.iter().len(), 1);
    assert!(
        errors
            .to_string()
            .starts_with("AuthorizeLayer: no role grants the permission `orders:read`"),
        "{errors}"
    );
}
