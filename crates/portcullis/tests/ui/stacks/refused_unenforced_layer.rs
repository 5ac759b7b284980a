//! The same, as a plain tower layer.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = roles;
    let stack = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer());
    let _: axum::Router = axum::Router::new().layer(stack);
}
