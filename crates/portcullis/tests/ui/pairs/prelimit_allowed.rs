//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn prelimit_prelimit() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(RateLimitLayer::before_authentication());
}

fn prelimit_authenticate() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(AuthenticateLayer::new());
}

fn prelimit_cache() {
    let _ = Stack::new()
        .layer(RateLimitLayer::before_authentication())
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
