//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn shed_observe() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(ObserveLayer::default());
}

fn shed_edge() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(EdgeLayer::default());
}

fn shed_route() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(routes().layer());
}

fn shed_limit() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(RateLimitLayer::in_memory());
}

fn shed_authorize() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
