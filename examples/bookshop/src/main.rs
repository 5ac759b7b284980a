//! Opens the bookshop. See the README beside this file's folder.
use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bookshop::{Shop, Store, app, banner};
use portcullis::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Notify;

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
    let closing = Arc::new(Notify::new());
    let drained = axum::serve(shop, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown({
            let closing = Arc::clone(&closing);
            async move {
                asked_to_close().await;
                closing.notify_one();
            }
        });
    tokio::select! {
        served = drained.into_future() => served?,
        // A client that never finishes must not keep the shop open.
        () = async {
            closing.notified().await;
            tokio::select! {
                () = asked_to_close() => {}
                () = tokio::time::sleep(DRAIN) => {}
            }
        } => tracing::warn!("closed with requests still running"),
    }
    Ok(())
}

/// How long requests may take to finish once the shop closes.
const DRAIN: Duration = Duration::from_secs(10);

/// Ctrl-C, or the signal by which a service manager ends a program.
async fn asked_to_close() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    drop(tokio::signal::ctrl_c().await);
}

async fn listen(variable: &str, default: &str) -> Result<TcpListener, Box<dyn std::error::Error>> {
    let address = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let listener = TcpListener::bind(&address).await;
    Ok(listener.map_err(|error| {
        format!("cannot listen on {address}: {error}; set {variable} to another address")
    })?)
}
