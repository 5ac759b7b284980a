//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn observe_edge() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default());
}

fn observe_shed() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(RateLimitLayer::before_routing());
}

fn observe_prelimit() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(RateLimitLayer::before_authentication());
}

fn observe_authenticate() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(AuthenticateLayer::new());
}

fn observe_cache() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
