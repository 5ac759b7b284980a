//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn prelimit_observe() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(ObserveLayer::default());
}

fn prelimit_edge() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(EdgeLayer::default());
}

fn prelimit_shed() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(RateLimitLayer::before_routing());
}

fn prelimit_route() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(routes().layer());
}

fn prelimit_limit() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(RateLimitLayer::in_memory());
}

fn prelimit_authorize() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
