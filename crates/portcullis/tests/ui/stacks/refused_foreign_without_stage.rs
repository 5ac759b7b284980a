//! A foreign layer whose stage nobody says.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let _ = (api, roles);
    let _ = Stack::new().layer(tower_http::trace::TraceLayer::new_for_http());
}
