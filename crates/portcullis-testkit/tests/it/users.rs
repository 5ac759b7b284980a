use std::convert::Infallible;

use http::{Request, Response};
use portcullis_core::{AuthState, Body, Context, EdgeLayer, Identity, IdentityKind, Routes, Stack};
use portcullis_testkit::{Contract, StubAuthenticateLayer, TestClient, as_service, as_user, get};
use tower::{Layer, service_fn};

/// Says who asks, or how to say it.
async fn whoami(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context = Context::of(&mut request);
    let said = match context.auth() {
        Some(AuthState::Authenticated(identity)) => identity.key().to_string(),
        Some(AuthState::Anonymous(challenges)) => format!("anonymous {:?}", challenges.values()),
        state => format!("{state:?}"),
    };
    Ok(Response::new(said.into()))
}

#[test]
fn a_user_has_what_the_test_gives_them() {
    let user = as_user("alice").roles(["clerk", "reader"]).scopes(["orders"]).tenant("acme");
    let identity = user.plan("pro").with(|identity| identity.session("s")).identity();
    assert_eq!(identity.key().to_string(), "test|acme|alice");
    assert_eq!(identity.roles().collect::<Vec<_>>(), ["clerk", "reader"]);
    assert_eq!(identity.scopes().collect::<Vec<_>>(), ["orders"]);
    assert_eq!((identity.plan(), identity.session()), (Some("pro"), Some("s")));
    assert_eq!(identity.kind(), IdentityKind::User);
    assert_eq!(as_service("billing").identity().kind(), IdentityKind::Service);
}

#[tokio::test]
async fn the_stub_believes_the_request() {
    let client = TestClient::new(StubAuthenticateLayer::new().layer(service_fn(whoami)));
    let other = Identity::builder("https://id.example", "eve");
    for (request, want) in [
        (client.get("/"), "anonymous [\"Stub\"]"),
        (client.get("/").as_user("alice"), "test||alice"),
        (client.get("/").as_user(as_user("bob").tenant("acme")), "test|acme|bob"),
        (client.get("/").as_user(other), "https://id.example||eve"),
    ] {
        assert_eq!(request.send().await.text(), want);
    }
}

#[tokio::test]
async fn a_user_as_a_layer_is_whoever_asks() {
    let stack = Stack::new().layer(EdgeLayer::new()).layer(as_user("alice").roles(["clerk"]));
    let client = TestClient::new(stack.service(service_fn(whoami)).unwrap());
    assert_eq!(client.get("/").send().await.text(), "test||alice");
    assert_eq!(client.get("/").as_user("bob").send().await.text(), "test||alice");
}

#[tokio::test]
async fn the_stub_looks_at_nobody_on_a_public_route() {
    let routes = Routes::builder().get("/open", service_fn(whoami)).public().build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    let client = TestClient::new(stack.layer(StubAuthenticateLayer::new()).around(routes).unwrap());
    let answer = client.get("/open").as_user("alice").send().await;
    assert_eq!(answer.text(), "anonymous [\"Stub\"]");
}

#[tokio::test]
async fn both_keep_the_contract() {
    Contract::new(StubAuthenticateLayer::new()).passes(|| get("/").build()).check().await;
    Contract::new(as_user("alice")).passes(|| get("/").build()).check().await;
}
