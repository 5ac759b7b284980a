//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn edge_shed() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(RateLimitLayer::before_routing());
}

fn edge_route() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer());
}

fn edge_prelimit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(RateLimitLayer::before_authentication());
}

fn edge_authenticate() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(AuthenticateLayer::new());
}

fn edge_cache() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
