//! Authentication that may be absent is no authentication.
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;

fn main() {
    let api = Guarded::<()>::new().route("/", get(|| async { "" }), require("orders:read"));
    let roles = Roles::builder().role("clerk").permits("orders:*").build().unwrap();
    let authenticate: Option<AuthenticateLayer> = None;
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(authenticate)
        .layer(AuthorizeLayer::new(roles))
        .around(api);
}
