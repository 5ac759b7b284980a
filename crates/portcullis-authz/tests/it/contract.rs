//! The layer keeps the contract of a layer.
use portcullis_authz::AuthorizeLayer;
use portcullis_core::Routes;
use portcullis_testkit::{Contract, FakeTime, StubAuthenticateLayer, as_user, get};
use tower::ServiceBuilder;

use crate::support::roles;

#[tokio::test]
async fn it_keeps_the_contract() {
    let routes = Routes::builder()
        .get("/open", ())
        .public()
        .get("/books", ())
        .require("books:read")
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .into_inner();
    // With a clock the request has its context from the beginning, and the contract looks for the problem there.
    let clock = FakeTime::new().clock();
    let of = move |path: &'static str, role: &'static str| {
        get(path).as_user(as_user("ada").roles([role])).clock(clock.clone()).build()
    };
    let (reader, stranger) = (of.clone(), of.clone());
    Contract::new(layers.clone())
        .passes(move || reader("/books", "reader"))
        .refuses(move || stranger("/books", "ghost"))
        .check()
        .await;
    Contract::new(layers)
        .passes(move || of("/open", "ghost"))
        .refuses(|| get("/books").build())
        .check()
        .await;
}

#[tokio::test]
async fn it_keeps_the_contract_with_a_requirement_of_its_own() {
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).require("books:read"));
    Contract::new(layers.into_inner())
        .passes(|| get("/").as_user(as_user("ada").roles(["reader"])).build())
        .refuses(|| get("/").as_user("ada").build())
        .check()
        .await;
}
