//! Authorization, and nobody knows who is asking.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthorizeLayer::new(roles))
        .around(api);
}
