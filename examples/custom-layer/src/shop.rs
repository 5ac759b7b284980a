//! A shop that can be closed for a while.
use axum::Router;
use axum::extract::State;
use http::StatusCode;
use portcullis::axum::{Guarded, get, put};
use portcullis::prelude::*;

use crate::{MaintenanceExt, MaintenanceLayer, Switch};

/// The key of the one who may close the shop.
pub const DEMO_KEY: &str = "demo-keeper-51aa";

/// The shop behind its stack.
///
/// # Errors
/// The stack and the routes do not fit together.
pub fn shop(switch: Switch) -> Result<Router, ConfigErrors> {
    let api = Guarded::new()
        .route("/", get(|| async { "welcome\n" }), public())
        .route("/health", get(|| async { "well\n" }), public().survives_maintenance())
        // Whoever closes the shop must be able to open it again.
        .route(
            "/maintenance",
            put(close).delete(open),
            require("shop:close").survives_maintenance(),
        )
        .with_state(switch.clone());

    let roles = Roles::builder().role("keeper").permits("shop:close").build()?;
    let key = ApiKey::new("kim", DEMO_KEY).role("keeper");
    let app = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(MaintenanceLayer::new(switch))
        .layer(AuthenticateLayer::new().api_keys(ApiKeys::new().key(key)))
        .layer(AuthorizeLayer::new(roles))
        .around(api)?;
    Ok(app.into_router())
}

async fn close(State(switch): State<Switch>) -> StatusCode {
    switch.turn(true);
    StatusCode::NO_CONTENT
}

async fn open(State(switch): State<Switch>) -> StatusCode {
    switch.turn(false);
    StatusCode::NO_CONTENT
}
