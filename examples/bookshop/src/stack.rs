//! The stack around the shop: who may do what, and how often.
use std::sync::Arc;

use axum::Router;
use portcullis::authz::{AuthorizeLayer, Roles};
use portcullis::axum::{Guarded, get, post};
use portcullis::gateway::{Proxy, Upstream};
use portcullis::ratelimit::{Key, LimitExt, RateLimitLayer, per_minute, per_second};
use portcullis::telemetry::{Metrics, ObserveLayer};
use portcullis::{
    ConfigErrors, EdgeLayer, RouteExt, RouteTable, Stack, authenticated, optional, public, require,
};

use crate::accounts::Front;
use crate::store::Store;
use crate::{api, home};

/// Keys to try the shop with: name, key, role.
pub const DEMO_KEYS: [(&str, &str, &str); 3] = [
    ("rita", "demo-reader-4c1f", "reader"),
    ("carl", "demo-clerk-9b2e", "clerk"),
    ("anna", "demo-auditor-77d0", "auditor"),
];

/// The shop behind its stack, and the table of its routes.
#[derive(Debug)]
pub struct Shop {
    /// What to serve.
    pub router: Router,
    /// Who may call what.
    pub table: Arc<RouteTable>,
}

/// Puts the shop behind its stack.
///
/// # Errors
/// The stack and the routes do not fit together.
pub fn app(
    store: Store,
    metrics: Metrics,
    catalogue: &Upstream,
    front: Front,
) -> Result<Shop, ConfigErrors> {
    let Front { accounts, authenticate, clock } = front;
    // Another service, behind the same stack: its path is what follows the prefix.
    let catalogue = Proxy::to(catalogue).strip_prefix("/catalogue");
    let api = Guarded::new()
        .route("/", get(home::home), optional())
        .route("/books", get(api::books), public())
        .route("/books/{id}", get(api::book), public())
        .route("/me", get(api::me), authenticated())
        .route("/orders", get(api::my_orders), require("orders:read"))
        .route("/orders", post(api::order), require("orders:write").limit("orders"))
        .route("/orders/events", get(api::my_new_orders), require("orders:read").streaming())
        .route("/orders/all", get(api::all_orders), require("orders:audit"))
        .with_state(store)
        .nest("/catalogue", Router::new().fallback_service(catalogue), public())
        // Registering, logging in and out, sessions, keys: whoever asks need not be known yet.
        .nest("/account", Router::new().fallback_service(accounts), optional());

    let roles = Roles::builder()
        .role("reader")
        .permits("orders:read")
        .role("customer")
        .inherits("reader")
        .permits("orders:write")
        .role("clerk")
        .inherits("reader")
        .permits("orders:write")
        .role("auditor")
        .inherits("reader")
        .permits("orders:audit")
        .build()?;

    let table = Arc::clone(api.route_layer().table());
    let app = Stack::new()
        .layer(ObserveLayer::default().metrics(metrics).clock(clock))
        .layer(EdgeLayer::default())
        // Before the route is known and the keys are looked at, so that scanning and guessing are limited too.
        .layer(RateLimitLayer::before_routing().everywhere(per_second(50).by(Key::Address)))
        .layer(api.route_layer())
        .layer(authenticate)
        .layer(RateLimitLayer::in_memory().quota("orders", per_minute(5).by(Key::Identity)))
        .layer(AuthorizeLayer::new(roles))
        .around(api)?;
    Ok(Shop { router: app.into_router(), table })
}
