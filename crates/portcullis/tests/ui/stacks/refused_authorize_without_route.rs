//! Authorization by route, and nobody knows the route.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = api;
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles));
}
