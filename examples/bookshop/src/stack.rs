//! The stack around the shop: who may do what, how often, and what is kept.
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use portcullis::authz::{AuthorizeLayer, Matrix, StoredRoles};
use portcullis::axum::{Guarded, delete, get, post};
use portcullis::cache::{CacheExt, CacheHandle, CacheLayer};
use portcullis::gateway::{Proxy, Upstream};
use portcullis::ratelimit::{Asked, Key, LimitExt, RateLimitLayer, per_minute, per_second};
use portcullis::telemetry::{Metrics, ObserveLayer};
use portcullis::{
    ConfigErrors, EdgeLayer, RouteExt, RouteTable, Stack, authenticated, optional, public, require,
};

use crate::accounts::Front;
use crate::admin::Files;
use crate::store::Store;
use crate::{admin, api, home};

/// The shop behind its stack, and the table of its routes.
#[derive(Debug)]
pub struct Shop {
    /// What to serve.
    pub router: Router,
    /// What is asked of whoever calls what.
    pub table: Arc<RouteTable>,
    /// Who may call what.
    pub matrix: Matrix,
}

/// What handlers need.
#[derive(Clone)]
struct Shelves {
    store: Store,
    files: Files,
    cache: CacheHandle,
}

impl FromRef<Shelves> for Store {
    fn from_ref(shelves: &Shelves) -> Self {
        shelves.store.clone()
    }
}

impl FromRef<Shelves> for Files {
    fn from_ref(shelves: &Shelves) -> Self {
        shelves.files.clone()
    }
}

impl FromRef<Shelves> for CacheHandle {
    fn from_ref(shelves: &Shelves) -> Self {
        shelves.cache.clone()
    }
}

impl FromRef<Shelves> for StoredRoles {
    fn from_ref(shelves: &Shelves) -> Self {
        shelves.files.roles.clone()
    }
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
    let Front { accounts, authenticate, users, roles, clock } = front;
    // Another service, behind the same stack: its path is what follows the prefix.
    let catalogue = Proxy::to(catalogue).strip_prefix("/catalogue");
    // The catalogue is the same to everybody. An order purges what it changes of it.
    let cache = CacheLayer::in_memory(16 << 20);
    // Whose order it is, and whom somebody manages, is known when it has been found: the handlers ask.
    let may = |permission: &'static str| counted(require(permission).object_checked());
    let api = Guarded::new()
        .route("/", get(home::home), counted(optional()))
        .route("/books", get(api::books), public().limit("search").cached())
        .route("/books/{id}", get(api::book), public().cached())
        .route("/me", get(api::me), counted(authenticated()))
        .route("/orders", get(api::orders), may("orders:read"))
        .route("/orders", post(api::order), may("orders:write").limit("orders"))
        .route("/orders/{id}", get(api::one_order), may("orders:read"))
        .route("/orders/{id}", delete(api::cancel), may("orders:write"))
        .route("/orders/events", get(api::new_orders), may("orders:read").streaming())
        .route("/orders/all", get(api::all_orders), may("orders:audit"))
        .route("/admin/roles", get(admin::show).post(admin::assign), may("roles:assign"))
        .route("/admin/roles/revoke", post(admin::revoke), may("roles:assign"))
        .with_state(Shelves {
            store,
            files: Files { users, roles: roles.clone() },
            cache: cache.handle(),
        })
        .nest("/catalogue", Router::new().fallback_service(catalogue), public().cached())
        // Registering, logging in and out, sessions, keys: whoever asks need not be known yet.
        .nest("/account", Router::new().fallback_service(accounts), optional().limit("guesses"));

    let table = Arc::clone(api.route_layer().table());
    let authorize = AuthorizeLayer::new(&roles);
    let matrix = authorize.matrix(&table);
    let app = Stack::new()
        .layer(ObserveLayer::default().metrics(metrics).clock(clock))
        .layer(EdgeLayer::default())
        // Before the route is known and the keys are looked at, so that scanning and guessing are limited too.
        .layer(RateLimitLayer::before_routing().everywhere(per_second(50).by(Key::Address)))
        .layer(api.route_layer())
        // What needs no name: what a search costs, and guessing, where only what is refused counts.
        .layer(
            RateLimitLayer::before_authentication()
                .quota("search", per_minute(60).by(Key::Address).cost_of(search_cost))
                .quota("guesses", per_minute(30).by(Key::Address).refusals()),
        )
        .layer(authenticate)
        // Each caller by their plan; who has no name counts by address.
        .layer(
            RateLimitLayer::in_memory()
                .quota("api", per_minute(60).by(Key::Identity).plan("trade", per_minute(600)))
                .quota("orders", per_minute(5).by(Key::Identity)),
        )
        .layer(authorize)
        .layer(cache)
        .around(api)?;
    Ok(Shop { router: app.into_router(), table, matrix })
}

/// The limits of a route that asks who is calling.
fn counted<R: LimitExt>(rule: R) -> R {
    rule.limit("guesses").limit("api")
}

/// The whole shelf stands ready; a search goes through all books.
fn search_cost(asked: &Asked<'_>) -> u64 {
    let query = asked.uri.query().unwrap_or_default();
    let is_search = query.split('&').any(|pair| pair.starts_with("author="));
    if is_search { 5 } else { 1 }
}
