//! The edge layer around an application.
use portcullis_core::EdgeLayer;
use portcullis_testkit::{Contract, get};

mod broken_bodies;
mod clients;
mod forwarding_of_ids;
mod own_headers;
mod security_headers;
mod targets;
mod times;

#[tokio::test]
async fn keeps_the_contract_of_a_layer() {
    Contract::new(EdgeLayer::new())
        .passes(|| get("/books/7").build())
        .refuses(|| get("/books%2F7").build())
        .check()
        .await;
}
