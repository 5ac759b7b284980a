//! The stack around the shop: who may do what, and how often.
use std::sync::Arc;

use axum::Router;
use portcullis::authn::{ApiKey, ApiKeys, AuthenticateLayer};
use portcullis::authz::{AuthorizeLayer, Roles};
use portcullis::axum::{Guarded, get, post};
use portcullis::gateway::{Proxy, Upstream};
use portcullis::ratelimit::{Key, LimitExt, RateLimitLayer, per_minute, per_second};
use portcullis::telemetry::{Metrics, ObserveLayer};
use portcullis::{ConfigErrors, EdgeLayer, RouteTable, Stack, authenticated, public, require};

use crate::api;
use crate::store::Store;

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
pub fn app(store: Store, metrics: Metrics, catalogue: &Upstream) -> Result<Shop, ConfigErrors> {
    // Another service, behind the same stack: its path is what follows the prefix.
    let catalogue = Proxy::to(catalogue).strip_prefix("/catalogue");
    let api = Guarded::new()
        .route("/books", get(api::books), public())
        .route("/books/{id}", get(api::book), public())
        .route("/me", get(api::me), authenticated())
        .route("/orders", get(api::my_orders), require("orders:read"))
        .route("/orders", post(api::order), require("orders:write").limit("orders"))
        .route("/orders/all", get(api::all_orders), require("orders:audit"))
        .with_state(store)
        .nest("/catalogue", Router::new().fallback_service(catalogue), public());

    let roles = Roles::builder()
        .role("reader")
        .permits("orders:read")
        .role("clerk")
        .inherits("reader")
        .permits("orders:write")
        .role("auditor")
        .inherits("reader")
        .permits("orders:audit")
        .build()?;
    let keys = DEMO_KEYS.iter().fold(ApiKeys::new(), |keys, (name, key, role)| {
        keys.key(ApiKey::new(*name, *key).role(*role))
    });

    let table = Arc::clone(api.route_layer().table());
    let app = Stack::new()
        .layer(ObserveLayer::default().metrics(metrics))
        .layer(EdgeLayer::default())
        // Before the route is known and the keys are looked at, so that scanning and guessing are limited too.
        .layer(RateLimitLayer::before_routing().everywhere(per_second(50).by(Key::Address)))
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().api_keys(keys))
        .layer(RateLimitLayer::in_memory().quota("orders", per_minute(5).by(Key::Identity)))
        .layer(AuthorizeLayer::new(roles))
        .around(api)?;
    Ok(Shop { router: app.into_router(), table })
}
