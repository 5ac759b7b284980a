//! Opens the bookshop. See the README beside this file's folder.
use std::env;
use std::net::SocketAddr;

use bookshop::{Shop, Store, app, banner};
use portcullis::telemetry::Metrics;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let database = env::var("BOOKSHOP_DB").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let store =
        Store::open(&database).await.map_err(|error| format!("BOOKSHOP_DB={database}: {error}"))?;
    let metrics = Metrics::default();
    let Shop { router, table } = app(store, metrics.clone())?;

    let shop = listen("BOOKSHOP_ADDR", "127.0.0.1:3000").await?;
    // Operators only: the metrics have a listener of their own.
    let operators = listen("BOOKSHOP_METRICS_ADDR", "127.0.0.1:9464").await?;
    let text = banner(shop.local_addr()?, operators.local_addr()?, &table);
    #[expect(clippy::print_stdout, reason = "it is what the shop is started for")]
    {
        println!("{text}");
    }

    tokio::spawn(
        axum::serve(operators, axum::Router::new().fallback_service(metrics.service()))
            .into_future(),
    );
    axum::serve(shop, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    Ok(())
}

async fn listen(variable: &str, default: &str) -> Result<TcpListener, Box<dyn std::error::Error>> {
    let address = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let listener = TcpListener::bind(&address).await;
    Ok(listener.map_err(|error| {
        format!("cannot listen on {address}: {error}; set {variable} to another address")
    })?)
}
