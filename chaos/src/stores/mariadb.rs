//! MariaDB.
use portcullis_sqlx::MySqlStores;
use rustix::process::{Signal, geteuid};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySqlConnection, Row};

use super::daemon::{Place, Program, found};
use super::{ACQUIRE, App, POOL, Server, Trials, answers, failed};
use crate::failure::Result;
use crate::report::Report;
use crate::server::free_address;

const ACCOUNT: &str = "mysql";
const OTHERS: &str =
    "SELECT id FROM information_schema.processlist WHERE db = 'sessions' AND id <> connection_id()";

pub(super) async fn run(report: &mut Report) -> Result {
    let (place, port) = (Place::new("mariadb"), free_address()?.port());
    initialized(&place).await?;
    let program = Program::new(found("mariadbd", [])?, ACCOUNT, &place.log(), Signal::KILL);
    let mut server = Server::new(program.words([
        "--no-defaults".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--datadir={}", place.file("")),
        format!("--socket={}", place.file("server.socket")),
        format!("--pid-file={}", place.file("server.pid")),
    ]));
    let root = MySqlConnectOptions::new().host("127.0.0.1").port(port).username("root");
    let pool = MySqlPoolOptions::new().max_connections(POOL).acquire_timeout(ACQUIRE);
    let pool = pool.connect_lazy_with(root.clone().database("sessions"));
    let lobby = MySqlPoolOptions::new().connect_lazy_with(root.clone());
    server.start(async || answers(&lobby).await).await?;
    lobby.execute("CREATE DATABASE sessions").await.map_err(failed)?;
    lobby.close().await;
    let stores = MySqlStores::from_pool(pool.clone());
    stores.migrate().await.map_err(failed)?;
    let app = App::open(stores.sessions().await.map_err(failed)?)?;
    let mut trials = Trials { name: "MariaDB", server: &mut server, pool, app, report };
    trials.ended(Signal::TERM, "is stopped").await?;
    trials.ended(Signal::KILL, "is killed").await?;
    let mut own = root.connect().await.map_err(failed)?;
    trials.killed(async || killed(&mut own).await).await?;
    trials.hung().await?;
    trials.starved().await
}

async fn initialized(place: &Place) -> Result {
    // It hands what it makes over to the account itself.
    let program = found("mariadb-install-db", [])?;
    let init = Program::new(program, "", &place.log(), Signal::KILL);
    let init = init.words(["--no-defaults", "--skip-test-db"]);
    let init = init.words(["--auth-root-authentication-method=normal"]);
    let init = init.words(geteuid().is_root().then(|| format!("--user={ACCOUNT}")));
    init.words([format!("--datadir={}", place.dir().display())]).run().await
}

/// How many connections have been killed.
async fn killed(own: &mut MySqlConnection) -> Result<usize> {
    let mut killed = 0;
    for other in own.fetch_all(OTHERS).await.map_err(failed)? {
        // One may have ended by itself.
        let kill = format!("KILL {}", other.get::<i64, _>(0));
        killed += usize::from(own.execute(AssertSqlSafe(kill)).await.is_ok());
    }
    Ok(killed)
}
