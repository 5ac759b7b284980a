//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn limit_observe() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(ObserveLayer::default());
}

fn limit_edge() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(EdgeLayer::default());
}

fn limit_shed() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(RateLimitLayer::before_routing());
}

fn limit_route() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(routes().layer());
}

fn limit_prelimit() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(RateLimitLayer::before_authentication());
}

fn limit_authenticate() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(AuthenticateLayer::new());
}

fn limit_authorize() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
