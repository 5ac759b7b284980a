//! A club with members of its own, to which portcullis adds registering, logging in and sessions. See the README beside this file's folder.
mod members;

use axum::Json;
use portcullis::authn::{Accounts, Mailer, Sessions};
use portcullis::axum::{Caller, Guarded, get};
use portcullis::prelude::*;
use portcullis::{BoxError, authenticated, optional};
use portcullis_sqlx::SqliteStores;
use serde::Serialize;
use sqlx::SqlitePool;
use tokio::runtime::Handle;

pub use self::members::Members;

/// Who is calling, as the application's handlers know them.
#[derive(Debug, Serialize)]
struct Me {
    member: String,
    name: String,
    plan: String,
}

async fn me(Caller(who): Caller<Identity>) -> Json<Me> {
    let name = who.claim("name").and_then(|name| name.as_str()).unwrap_or_default();
    let plan = who.plan().unwrap_or_default();
    Json(Me { member: who.subject().to_owned(), name: name.to_owned(), plan: plan.to_owned() })
}

async fn ledger() -> &'static str {
    "the club has 42 members\n"
}

/// Makes the application's tables, and ours beside them: neither touches the other's.
///
/// # Errors
/// The database cannot answer.
pub async fn migrate(pool: &SqlitePool) -> Result<(), BoxError> {
    sqlx::migrate!().run(pool).await?;
    SqliteStores::from_pool(pool.clone()).migrate().await?;
    Ok(())
}

/// The club with its front door. `sessions` say how their cookie travels; `base` is where the site is.
///
/// # Errors
/// The tables are not there, or the stack does not fit together.
pub async fn app(
    pool: SqlitePool,
    base: &str,
    mailer: impl Mailer,
    cookies: impl FnOnce(Sessions) -> Sessions,
) -> Result<axum::Router, BoxError> {
    let stores = SqliteStores::from_pool(pool.clone());
    let members = Members::new(pool);
    let accounts = Accounts::builder(base, members, stores.tokens().await?, mailer);
    let accounts = accounts.service("The club").after_log_in("/me").build()?;
    accounts.start(&Handle::current());
    let sessions = Sessions::new(stores.sessions().await?).log_in_page("/account/login");
    let sessions = cookies(sessions);
    sessions.start(&Handle::current());
    let api = Guarded::new()
        .route("/me", get(me), authenticated())
        .route("/ledger", get(ledger), require("ledger:read"))
        .nest("/account", axum::Router::new().fallback_service(accounts), optional());
    let roles = Roles::builder().role("member").role("staff").permits("ledger:read").build()?;
    let stack = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().sessions(sessions))
        .layer(AuthorizeLayer::new(roles));
    Ok(stack.around(api)?.into_router())
}
