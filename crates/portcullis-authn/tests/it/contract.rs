//! The layer keeps the contract of a layer.
use portcullis_core::Routes;
use portcullis_testkit::{Contract, FakeTime, get};
use tower::ServiceBuilder;

use crate::support::{KEY, layer};

#[tokio::test]
async fn it_keeps_the_contract() {
    // With a clock the request has its context from the beginning, and the contract looks for the problem there.
    let clock = FakeTime::new().clock();
    let refused = move || get("/").header("x-api-key", "k-guessed").clock(clock.clone()).build();
    for passing in [None, Some(KEY)] {
        let passes = move || match passing {
            None => get("/").build(),
            Some(key) => get("/").header("x-api-key", key).build(),
        };
        Contract::new(layer()).passes(passes).refuses(refused.clone()).check().await;
    }
}

#[tokio::test]
async fn it_keeps_the_contract_behind_routes() {
    let routes = Routes::builder().get("/open", ()).public().get("/", ()).authenticated();
    let layers = ServiceBuilder::new().layer(routes.build().unwrap().layer()).layer(layer());
    Contract::new(layers.into_inner())
        .passes(|| get("/open").header("x-api-key", "k-guessed").build())
        .refuses(|| get("/").header("x-api-key", "k-guessed").build())
        .check()
        .await;
}
