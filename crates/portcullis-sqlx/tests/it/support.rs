//! Databases of a test's own, gone with it.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// How many connections a pool has: fewer than ask at once.
const CONNECTIONS: u32 = 10;

/// A name that no other test has.
fn name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("portcullis_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Relaxed))
}

fn postgres_server() -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().host("127.0.0.1").username("postgres")
}

fn mysql_server() -> MySqlConnectOptions {
    // Each statement that leaves the cache waits for a delayed acknowledgement.
    let options = MySqlConnectOptions::new().statement_cache_capacity(2_000);
    options.host("127.0.0.1").username("root")
}

/// Does this with a database of PostgreSQL.
pub(crate) async fn with_postgres(test: impl AsyncFnOnce(sqlx::PgPool)) {
    let name = name();
    let server = postgres_server().database("postgres");
    let mut root = server.connect().await.expect("PostgreSQL answers: `cargo xtask services`");
    root.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let options = PgPoolOptions::new().max_connections(CONNECTIONS);
    let pool = options.connect_with(postgres_server().database(&name)).await.unwrap();
    test(pool.clone()).await;
    pool.close().await;
    root.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    root.close().await.unwrap();
}

/// Does this with a database of MariaDB.
pub(crate) async fn with_mysql(test: impl AsyncFnOnce(sqlx::MySqlPool)) {
    let name = name();
    let mut root = mysql_server().connect().await.expect("MariaDB answers: `cargo xtask services`");
    root.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let options = MySqlPoolOptions::new().max_connections(CONNECTIONS);
    let pool = options.connect_with(mysql_server().database(&name)).await.unwrap();
    test(pool.clone()).await;
    pool.close().await;
    root.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
    root.close().await.unwrap();
}

/// Does this with a database of SQLite, in a file.
pub(crate) async fn with_sqlite(test: impl AsyncFnOnce(sqlx::SqlitePool)) {
    let path = std::env::temp_dir().join(name());
    let file = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let file = file.busy_timeout(std::time::Duration::from_secs(30));
    let file = file.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let options = SqlitePoolOptions::new().max_connections(CONNECTIONS);
    let pool = options.connect_with(file).await.unwrap();
    test(pool.clone()).await;
    pool.close().await;
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{end}", path.display())));
    }
}

/// Does this with a database of SQLite that is in memory, and on one connection therefore.
pub(crate) async fn with_sqlite_memory(test: impl AsyncFnOnce(sqlx::SqlitePool)) {
    let memory = SqliteConnectOptions::new().in_memory(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(memory).await.unwrap();
    test(pool.clone()).await;
    pool.close().await;
}
