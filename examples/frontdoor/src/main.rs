//! Opens the front door. See the README beside this file's folder.
use std::convert::Infallible;
use std::io::Write;

use frontdoor::app::answer;
use frontdoor::options::Options;
use portcullis::server::OpenServer;
use tower::service_fn;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let options = Options::read(std::env::args().skip(1))?;
    let workers = options.workers;
    let server = options.server()?.open()?;
    say_where(&server)?;
    if workers.is_some() {
        server.run(|_worker| Ok::<_, Infallible>(service_fn(answer)))?;
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(server.serve(service_fn(answer)))?;
    }
    Ok(())
}

/// Connections queue from here on, so whoever reads this may connect.
fn say_where(server: &OpenServer) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for place in server.places() {
        writeln!(out, "listening on {place}")?;
    }
    writeln!(out, "ready")?;
    out.flush()
}
