//! PostgreSQL.
use std::path::PathBuf;

use portcullis_sqlx::PgStores;
use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};

use super::daemon::{Place, Program, found};
use super::{ACQUIRE, App, POOL, Server, Trials, answers, failed};
use crate::failure::Result;
use crate::report::Report;
use crate::server::free_address;

const ACCOUNT: &str = "postgres";
const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

pub(super) async fn run(report: &mut Report) -> Result {
    let (place, port) = (Place::new("postgres"), free_address()?.port());
    initialized(&place).await?;
    let mut server = Server::new(program("postgres", &place)?.words([
        "-D".to_owned(),
        place.file(""),
        "-k".to_owned(),
        place.file(""),
        "-p".to_owned(),
        port.to_string(),
        "-c".to_owned(),
        "listen_addresses=127.0.0.1".to_owned(),
    ]));
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
    let options = options.username("postgres").database("postgres");
    let pool = PgPoolOptions::new().max_connections(POOL).acquire_timeout(ACQUIRE);
    let pool = pool.connect_lazy_with(options.clone());
    server.start(async || answers(&pool).await).await?;
    let stores = PgStores::from_pool(pool.clone());
    stores.migrate().await.map_err(failed)?;
    let app = App::open(stores.sessions().await.map_err(failed)?)?;
    let mut trials = Trials { name: "PostgreSQL", server: &mut server, pool, app, report };
    trials.ended(Signal::INT, "is stopped").await?;
    trials.ended(Signal::KILL, "is killed").await?;
    let mut own = options.connect().await.map_err(failed)?;
    trials.killed(async || Ok(own.fetch_all(KILL).await.map_err(failed)?.len())).await?;
    trials.hung().await?;
    trials.starved().await
}

/// `SIGQUIT` also ends what the server has started.
fn program(name: &str, place: &Place) -> Result<Program> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    Ok(Program::new(found(name, dirs.into_iter().rev())?, ACCOUNT, &place.log(), Signal::QUIT))
}

async fn initialized(place: &Place) -> Result {
    let init = program("initdb", place)?;
    let init = init.words(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    init.words(["--no-sync".to_owned(), "--pgdata".to_owned(), place.file("")]).run().await
}
