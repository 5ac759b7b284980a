//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn edge_observe() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(ObserveLayer::default());
}

fn edge_edge() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(EdgeLayer::default());
}

fn edge_limit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(RateLimitLayer::in_memory());
}

fn edge_authorize() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
