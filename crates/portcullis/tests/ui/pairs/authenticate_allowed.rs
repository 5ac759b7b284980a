//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn authenticate_limit() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory());
}

fn authenticate_cache() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
