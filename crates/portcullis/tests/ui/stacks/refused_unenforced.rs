//! A route that is not public, and no `AuthorizeLayer`.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = roles;
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new())
        .around(api);
}
