//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn route_prelimit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(RateLimitLayer::before_authentication());
}

fn route_authenticate() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new());
}

fn route_cache() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
