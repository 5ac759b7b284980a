//! SQLite, whose file somebody else has for themselves.
use std::time::Duration;

use portcullis_sqlx::SqliteStores;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Executor};
use tokio::time::sleep;

use super::daemon::Place;
use super::trial::Trial;
use super::{ACQUIRE, App, OUTAGE, POOL, failed, starved};
use crate::failure::Result;
use crate::report::Report;

/// How long a statement waits for the file.
const BUSY: Duration = Duration::from_secs(1);

pub(super) async fn run(report: &mut Report) -> Result {
    let place = Place::new("sqlite");
    std::fs::create_dir(place.dir())?;
    let file = SqliteConnectOptions::new().filename(place.file("sessions.db"));
    let file = file.create_if_missing(true).busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new().max_connections(POOL).acquire_timeout(ACQUIRE);
    let pool = pool.connect_with(file.clone()).await.map_err(failed)?;
    let stores = SqliteStores::from_pool(pool.clone());
    stores.migrate().await.map_err(failed)?;
    let app = App::open(stores.sessions().await.map_err(failed)?)?;
    // Who has waited for a connection may wait for the file besides.
    let limit = ACQUIRE + BUSY;

    let trial = Trial::begin(&app).await?;
    let mut other = file.busy_timeout(OUTAGE).connect().await.map_err(failed)?;
    other.execute("BEGIN EXCLUSIVE").await.map_err(failed)?;
    sleep(BUSY + OUTAGE).await;
    other.execute("COMMIT").await.map_err(failed)?;
    trial.end("SQLite: another process has the file", limit, true, report).await?;

    starved(&pool, &app, "SQLite", limit, report).await?;
    pool.close().await;
    Ok(())
}
