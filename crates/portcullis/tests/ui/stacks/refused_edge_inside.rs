//! The edge behind the layer that needs it.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = roles;
    let _ = Stack::new().layer(ObserveLayer::default()).layer(api.route_layer()).layer(EdgeLayer::default());
}
