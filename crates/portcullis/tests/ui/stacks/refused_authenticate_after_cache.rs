//! Authentication behind a foreign cache.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let cache = tower_http::trace::TraceLayer::new_for_http();
    let _ = roles;
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .at(stage::Cache, cache)
        .layer(AuthenticateLayer::new());
}
