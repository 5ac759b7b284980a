//! Serves the carts on port 3000.
use portcullis::BoxError;
use portcullis::authn::Sessions;
use portcullis::prelude::*;
use portcullis::server::Server;
use portcullis_sqlx::SqliteStores;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::runtime::Handle;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let file = SqliteConnectOptions::new().filename("sessions.db").create_if_missing(true);
    let stores = SqliteStores::from_pool(SqlitePool::connect_with(file).await?);
    stores.migrate().await?;
    let keys = ApiKeys::new().key(ApiKey::new("ada", "k-7f3a9c"));
    // For development: without a certificate a cookie that is `Secure` goes nowhere.
    let sessions = Sessions::new(stores.sessions().await?).insecure_plain_http();
    sessions.start(&Handle::current());
    let app = sessions::app(sessions, keys)?;
    Server::bind("http://127.0.0.1:3000").drain_on_signals().open()?.serve(app).await?;
    Ok(())
}
