//! Opens the bookshop. See the README beside this file's folder.
use std::env;
use std::path::Path;
use std::time::Duration;

use bookshop::{Front, Shop, Store, app, banner, of_this_machine, replicas};
use portcullis::authn::{LogMailer, SmtpMailer};
use portcullis::server::{Limits, OpenServer, Server};
use portcullis::telemetry::{Metrics, Operations};
use portcullis::{BoxError, Clock, Readiness, Secret};

/// How long requests may take to finish once the shop closes.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let filter = env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".to_owned());
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let metrics = Metrics::default();
    let readiness = Readiness::new();
    let stocked = readiness.expect("store");
    let server = open(&metrics, &readiness)?;

    let database = env::var("BOOKSHOP_DB").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let store =
        Store::open(&database).await.map_err(|error| format!("BOOKSHOP_DB={database}: {error}"))?;
    stocked.ready();
    let catalogue = replicas(&store)?;
    let &[shop, pages, operators] = server.addresses().as_slice() else {
        return Err("the shop listens on addresses, not on Unix sockets".into());
    };
    let base = env::var("BOOKSHOP_SITE");
    let base = base.unwrap_or_else(|_| format!("https://localhost:{}", pages.port()));
    let front = match env::var("BOOKSHOP_SMTP") {
        Ok(server) => {
            let sender = variable("BOOKSHOP_SENDER", "The bookshop <shop@localhost>");
            let mailer = SmtpMailer::new(&Secret::new(server), &sender)?;
            Front::new(&store, &base, mailer, Clock::system()).await?
        }
        Err(_) => Front::new(&store, &base, LogMailer, Clock::system()).await?,
    };
    let front = front.with_demo_people().await?;
    let Shop { router, table, .. } = app(store, metrics, &catalogue, front)?;
    let text = banner(shop, pages, operators, &table);
    #[expect(clippy::print_stdout, reason = "it is what the shop is started for")]
    {
        println!("{text}");
    }
    Ok(server.serve(router).await?)
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The shop's listeners, and one for operators only: health, readiness, metrics.
fn open(metrics: &Metrics, readiness: &Readiness) -> Result<OpenServer, BoxError> {
    // Pages need TLS: their cookies go over nothing else.
    let folder = variable("BOOKSHOP_CERTIFICATE", "target/bookshop");
    let pages = variable("BOOKSHOP_TLS_ADDR", "127.0.0.1:3443");
    let server = Server::bind(variable("BOOKSHOP_ADDR", "127.0.0.1:3000"))
        .listen(format!("https://{pages}").as_str())
        .tls(of_this_machine(Path::new(&folder)).map_err(|error| {
            format!("BOOKSHOP_CERTIFICATE={folder}: the certificate cannot be kept there: {error}")
        })?)
        .limits(Limits::default().drain(DRAIN))
        .readiness(readiness.clone())
        .drain_on_signals();
    let metrics = metrics.clone().with_source(server.stats());
    let operations = Operations::new().readiness(readiness.clone()).metrics(metrics);
    let server = server.side(variable("BOOKSHOP_METRICS_ADDR", "127.0.0.1:9464"), operations);
    let help = "set BOOKSHOP_ADDR, BOOKSHOP_TLS_ADDR or BOOKSHOP_METRICS_ADDR to another address";
    Ok(server.open().map_err(|errors| format!("{errors}; {help}"))?)
}
