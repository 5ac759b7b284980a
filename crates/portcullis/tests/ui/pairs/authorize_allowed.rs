//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn authorize_cache() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(CacheLayer::in_memory(1 << 20));
}

fn main() {
    let _ = (routes, roles);
}
