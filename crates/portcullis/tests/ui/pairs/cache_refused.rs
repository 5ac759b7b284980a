//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn cache_observe() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(ObserveLayer::default());
}

fn cache_edge() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(EdgeLayer::default());
}

fn cache_shed() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(RateLimitLayer::before_routing());
}

fn cache_route() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(routes().layer());
}

fn cache_prelimit() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(RateLimitLayer::before_authentication());
}

fn cache_authenticate() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(AuthenticateLayer::new());
}

fn cache_limit() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(RateLimitLayer::in_memory());
}

fn cache_authorize() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(AuthorizeLayer::new(roles()));
}

fn cache_cache() {
    let _ = Stack::new()
        .layer(CacheLayer::in_memory(1 << 20))
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
