//! Databases that stop, crash, hang, lose their connections or have none left, while sessions in them are checked (R12).
//!
//! The databases are this experiment's own: on free ports, with their data in the directory for temporary files.
use std::fmt::Display;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Database, Pool};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Result};
use crate::report::Report;

mod app;
mod ask;
mod daemon;
pub(crate) mod hung;
mod load;
mod mariadb;
mod postgres;
pub(crate) mod redis;
mod server;
mod sqlite;
mod trial;

use app::App;
use server::Server;
use trial::Trial;

/// How many connections a pool has: fewer than there are clients.
const POOL: u32 = 5;
/// How long a request may wait for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(1);
/// How long `AuthenticateLayer` waits for a store that takes a question and does not answer it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a database is away.
const OUTAGE: Duration = Duration::from_millis(1500);
/// Connections are killed so often, and so long after each other.
const KILLS: (u32, Duration) = (10, Duration::from_millis(100));

pub(crate) async fn run() -> Result<Report> {
    let mut report = Report::new(&trial::HEAD);
    let within = |part: &'static str| move |failure| Failure::new(format!("{part}: {failure}"));
    postgres::run(&mut report).await.map_err(within("PostgreSQL"))?;
    mariadb::run(&mut report).await.map_err(within("MariaDB"))?;
    sqlite::run(&mut report).await.map_err(within("SQLite"))?;
    redis::run(&mut report).await.map_err(within("Redis"))?;
    Ok(report)
}

/// What an error of another crate says.
fn failed(error: impl Display) -> Failure {
    Failure::new(error.to_string())
}

/// What is done to a server of a database that sqlx speaks to.
struct Trials<'a, D: Database> {
    name: &'static str,
    server: &'a mut Server,
    pool: Pool<D>,
    app: App,
    report: &'a mut Report,
}

impl<D: Database> Trials<'_, D> {
    async fn end(&mut self, trial: Trial, what: &str, limit: Duration) -> Result {
        trial.end(&format!("{} {what}", self.name), limit, true, self.report).await
    }
    /// The server ends by this signal and is started again.
    async fn ended(&mut self, signal: rustix::process::Signal, what: &str) -> Result {
        let trial = Trial::begin(&self.app).await?;
        self.server.end(signal).await?;
        sleep(OUTAGE).await;
        self.server.start(async || answers(&self.pool).await).await?;
        self.end(trial, what, ACQUIRE).await
    }
    /// `kill` kills all connections but its own, and says how many there were.
    async fn killed(&mut self, mut kill: impl AsyncFnMut() -> Result<usize>) -> Result {
        let trial = Trial::begin(&self.app).await?;
        let mut killed = 0;
        for _ in 0..KILLS.0 {
            killed += kill().await?;
            sleep(KILLS.1).await;
        }
        if killed < KILLS.0 as usize {
            return Err(Failure::new(format!("only {killed} connections could be killed")));
        }
        // A killed connection is found before it is asked anything, so nobody need notice.
        let what = format!("{}: its connections are killed, ten times", self.name);
        trial.end(&what, ACQUIRE, false, self.report).await
    }
    async fn hung(&mut self) -> Result {
        let trial = Trial::begin(&self.app).await?;
        let hung = self.server.hang()?;
        sleep(LOOK + OUTAGE).await;
        drop(hung);
        self.end(trial, "hangs", LOOK).await
    }
    async fn starved(&mut self) -> Result {
        starved(&self.pool, &self.app, self.name, ACQUIRE, self.report).await
    }
}

/// Somebody takes all connections of the pool and does nothing with them.
async fn starved<D: Database>(
    pool: &Pool<D>,
    app: &App,
    name: &str,
    limit: Duration,
    report: &mut Report,
) -> Result {
    let trial = Trial::begin(app).await?;
    let mut held = Vec::new();
    for _ in 0..POOL {
        held.push(pool.acquire().await.map_err(failed)?);
    }
    sleep(OUTAGE).await;
    drop(held);
    trial.end(&format!("{name}: the pool is empty"), limit, true, report).await
}

/// Whether the database answers on a connection of its own.
async fn answers<D: Database>(pool: &Pool<D>) -> bool {
    let asked = async {
        let options = pool.connect_options();
        let mut connection = options.connect().await?;
        connection.ping().await?;
        connection.close().await
    };
    matches!(timeout(ACQUIRE, asked).await, Ok(Ok(())))
}

/// Tries again and again until it works.
async fn until(limit: Duration, mut ready: impl AsyncFnMut() -> Result<bool>) -> Result {
    let since = Instant::now();
    while !ready().await? {
        if since.elapsed() > limit {
            return Err(Failure::new(format!("not ready after {} seconds", limit.as_secs())));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
