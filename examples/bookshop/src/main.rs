//! Opens the bookshop. See the README beside this file's folder.
use std::env;
use std::time::Duration;

use bookshop::{Shop, Store, app, banner, replicas};
use portcullis::Readiness;
use portcullis::server::{Limits, OpenServer, Server};
use portcullis::telemetry::{Metrics, Operations};

/// How long requests may take to finish once the shop closes.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let metrics = Metrics::default();
    let readiness = Readiness::new();
    let stocked = readiness.expect("store");
    let server = open(&metrics, &readiness)?;

    let database = env::var("BOOKSHOP_DB").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let store =
        Store::open(&database).await.map_err(|error| format!("BOOKSHOP_DB={database}: {error}"))?;
    stocked.ready();
    let catalogue = replicas(&store)?;
    let Shop { router, table } = app(store, metrics, &catalogue)?;
    let &[shop, operators] = server.addresses().as_slice() else {
        return Err("the shop listens on addresses, not on Unix sockets".into());
    };
    let text = banner(shop, operators, &table);
    #[expect(clippy::print_stdout, reason = "it is what the shop is started for")]
    {
        println!("{text}");
    }
    Ok(server.serve(router).await?)
}

/// The shop's listener, and one for operators only: health, readiness, metrics.
fn open(
    metrics: &Metrics,
    readiness: &Readiness,
) -> Result<OpenServer, Box<dyn std::error::Error>> {
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let server = Server::bind(variable("BOOKSHOP_ADDR", "127.0.0.1:3000"))
        .limits(Limits::default().drain(DRAIN))
        .readiness(readiness.clone())
        .drain_on_signals();
    let metrics = metrics.clone().with_source(server.stats());
    let operations = Operations::new().readiness(readiness.clone()).metrics(metrics);
    let server = server.side(variable("BOOKSHOP_METRICS_ADDR", "127.0.0.1:9464"), operations);
    let help = "set BOOKSHOP_ADDR or BOOKSHOP_METRICS_ADDR to another address";
    Ok(server.open().map_err(|errors| format!("{errors}; {help}"))?)
}
