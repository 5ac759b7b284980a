//! What happens where connections break, and where there are too few of them.
use std::time::Duration;

use portcullis_authn::{SessionDigest, SessionRecord, SessionStore, Touch};
use portcullis_core::Clock;
use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Executor, MySqlConnection, PgConnection, Row};

use crate::support::{with_mysql, with_postgres, with_sqlite};

fn id() -> SessionDigest {
    SessionDigest::from_bytes([7; 32])
}

const HOUR: Duration = Duration::from_hours(1);

async fn begin(store: &impl SessionStore) {
    let now = Clock::system().wall();
    store.create(SessionRecord::new(id(), now, now + HOUR)).await.unwrap();
}

/// Whether the session is there; an error where the database does not say.
async fn is_there(store: &impl SessionStore) -> Option<bool> {
    let touch = Touch::new(Clock::system().wall(), HOUR, HOUR);
    store.open(&id(), touch).await.ok().map(|record| record.is_some())
}

/// It comes back by itself, and says nothing that is not so meanwhile.
async fn comes_back(store: &impl SessionStore) {
    let back = async {
        loop {
            match is_there(store).await {
                Some(is_there) => break assert!(is_there, "the session is there all the time"),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), back).await.expect("within 2 s");
}

/// Kills all connections of this one's database, this one being the last.
async fn kill_on_postgres(one: &mut PgConnection) {
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let killed = one.fetch_all(others).await.unwrap().len();
    assert!(killed >= 4, "{killed}");
    one.execute("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
}

async fn kill_on_mariadb(one: &mut MySqlConnection) {
    let others = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()";
    let others = one.fetch_all(others).await.unwrap();
    assert!(others.len() >= 4, "{}", others.len());
    for other in others {
        // One may have ended by itself.
        let kill = format!("KILL {}", other.get::<i64, _>(0));
        drop(one.execute(AssertSqlSafe(kill)).await);
    }
    drop(one.execute("KILL CONNECTION_ID()").await);
}

/// The same on each database.
macro_rules! killed {
    ($name:ident, $with:ident, $stores:ident, $kill:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                stores.migrate().await.unwrap();
                let store = stores.sessions().await.unwrap();
                begin(&store).await;
                for _ in 0..5 {
                    let mut held = Vec::new();
                    for _ in 0..5 {
                        held.push(pool.acquire().await.unwrap());
                    }
                    let mut one = held.pop().unwrap();
                    drop(held);
                    $kill(&mut one).await;
                    drop(one);
                    comes_back(&store).await;
                }
            })
            .await;
        }
    };
}

killed!(
    postgres_comes_back_when_its_connections_were_killed,
    with_postgres,
    PgStores,
    kill_on_postgres
);
killed!(
    mariadb_comes_back_when_its_connections_were_killed,
    with_mysql,
    MySqlStores,
    kill_on_mariadb
);

/// The same on each database.
macro_rules! starved {
    ($name:ident, $with:ident, $stores:ident, $options:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let few = $options::new().max_connections(1);
                let few = few.acquire_timeout(Duration::from_millis(100));
                let few = few.connect_with((*pool.connect_options()).clone()).await.unwrap();
                let stores = $stores::from_pool(few.clone());
                stores.migrate().await.unwrap();
                let store = stores.sessions().await.unwrap();
                begin(&store).await;
                let only = few.acquire().await.unwrap();
                let waits = tokio::time::timeout(Duration::from_secs(5), is_there(&store)).await;
                assert_eq!(waits.expect("not longer than the pool says"), None);
                assert!(store.end(&id()).await.is_err(), "nobody is told that it has ended");
                drop(only);
                comes_back(&store).await;
                few.close().await;
            })
            .await;
        }
    };
}

starved!(postgres_without_a_connection_cannot_say, with_postgres, PgStores, PgPoolOptions);
starved!(mariadb_without_a_connection_cannot_say, with_mysql, MySqlStores, MySqlPoolOptions);
starved!(sqlite_without_a_connection_cannot_say, with_sqlite, SqliteStores, SqlitePoolOptions);
