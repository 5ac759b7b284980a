//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn shed_shed() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(RateLimitLayer::before_routing());
}

fn shed_prelimit() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(RateLimitLayer::before_authentication());
}

fn shed_authenticate() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(AuthenticateLayer::new());
}

fn shed_cache() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_routing())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
