//! A foreign cache in front of authorization.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let cache = tower_http::trace::TraceLayer::new_for_http();
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new())
        .at(stage::Cache, cache)
        .layer(AuthorizeLayer::new(roles))
        .around(api);
}
