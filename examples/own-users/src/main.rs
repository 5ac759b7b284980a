//! Serves the club on port 3000.
use portcullis::BoxError;
use portcullis::authn::{LogMailer, Sessions};
use portcullis::server::Server;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_env_filter("info,sqlx=warn").with_writer(std::io::stderr).init();
    let file = SqliteConnectOptions::new().filename("club.db").create_if_missing(true);
    let pool = SqlitePool::connect_with(file).await?;
    own_users::migrate(&pool).await?;
    // For development: without a certificate a cookie that is `Secure` goes nowhere.
    let plain = Sessions::insecure_plain_http;
    let app = own_users::app(pool, "http://127.0.0.1:3000", LogMailer, plain).await?;
    Server::bind("http://127.0.0.1:3000").drain_on_signals().open()?.serve(app).await?;
    Ok(())
}
