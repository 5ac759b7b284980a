//! Quotas, one type for each database.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use portcullis_ratelimit::{QuotaStore, QuotaStoreError, Take, Taken};
use sqlx::QueryBuilder;

use crate::limit_sql::{self, Statements};
use crate::limit_step::{Measure, step};
use crate::retry::{TRIES, is_conflict, retried};

/// After how many calls rows are taken away whose time has passed.
const SWEEP: u32 = 256;

/// A key, what it has, and the database's now.
type Row = (String, Vec<u8>, i64, i64);

/// Which keys a call is about, each once and in one order for all, and which of them is that of each take.
struct Keys {
    keys: Vec<(Arc<str>, [u8; 16])>,
    places: Vec<usize>,
}

impl Keys {
    fn of(takes: &[Take]) -> Self {
        let mut keys: Vec<_> =
            takes.iter().map(|take| (Arc::clone(&take.quota), take.who)).collect();
        keys.sort_unstable();
        keys.dedup();
        let place = |take: &Take| {
            let key = keys
                .binary_search_by(|(quota, who)| (&**quota, who).cmp(&(&*take.quota, &take.who)));
            key.unwrap_or_default()
        };
        let places = takes.iter().map(place).collect();
        Self { keys, places }
    }
    /// What the keys have, in their order, and the latest now.
    fn read(&self, rows: &[Row]) -> (Vec<i64>, i64) {
        let used = self.keys.iter().map(|(quota, who)| {
            let row = rows.iter().find(|row| *row.0 == **quota && row.1 == who);
            row.map_or(0, |row| row.2)
        });
        (used.collect(), rows.iter().map(|row| row.3).max().unwrap_or_default())
    }
}

/// When rows are taken away whose time has passed.
#[derive(Debug, Default)]
struct Sweeps {
    calls: AtomicU32,
    is_sweeping: AtomicBool,
}

impl Sweeps {
    /// Whether it is the turn of this call. [`end`](Self::end) follows.
    fn begin(&self) -> bool {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        calls % SWEEP == SWEEP - 1 && !self.is_sweeping.swap(true, Ordering::Relaxed)
    }
    fn end(&self) {
        self.is_sweeping.store(false, Ordering::Relaxed);
    }
}

fn failed(error: sqlx::Error) -> QuotaStoreError {
    QuotaStoreError(error.into())
}

macro_rules! quotas {
    (
        $stores:ident, $(#[$doc:meta])* $quotas:ident, $database:ty, $statements:ident, $begin:literal, $now:ident, $at_once:ident
    ) => {
        impl crate::stores::$stores {
            /// The quotas.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn quotas(&self) -> Result<$quotas, crate::SchemaError> {
                self.check().await?;
                Ok($quotas { pool: self.pool.clone(), sweeps: Arc::default() })
            }
        }

        $(#[$doc])*
        ///
        /// The database's own clock counts. Rows whose time has passed are taken away now and then by a task, a thousand at most. What a database refuses because of others
        /// is tried again. A call lasts as long as the pool and the database let it: whoever wants to wait for less drops it. Cheap to clone.
        #[derive(Clone, Debug)]
        pub struct $quotas {
            pool: sqlx::Pool<$database>,
            sweeps: Arc<Sweeps>,
        }

        impl $quotas {
            const STATEMENTS: Statements = limit_sql::$statements;

            async fn try_take(&self, takes: &[Take]) -> sqlx::Result<Vec<Taken>> {
                let keys = Keys::of(takes);
                let mut transaction = self.pool.begin_with($begin).await?;
                let rows = Self::lock(&mut transaction, &keys).await?;
                let (used, now) = keys.read(&rows);
                let (taken, changed) = step(takes, &keys.places, &used, $now(now));
                let changed = keys.keys.iter().zip(changed);
                let changed = changed.filter_map(|(key, used)| Some((key, used?)));
                let changed: Vec<_> = changed.collect();
                if changed.is_empty() {
                    transaction.rollback().await?;
                    return Ok(taken);
                }
                let mut put = QueryBuilder::<$database>::new(limit_sql::PUT);
                put.push_values(changed, |mut row, ((quota, who), used)| {
                    row.push_bind(quota.to_string()).push_bind(who.to_vec()).push_bind(used);
                });
                put.push(Self::STATEMENTS.put).build().execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(taken)
            }
            /// Holds the rows of these keys, in one order for all who do, so that nobody waits in a circle.
            async fn lock(
                connection: &mut <$database as sqlx::Database>::Connection,
                keys: &Keys,
            ) -> sqlx::Result<Vec<Row>> {
                let mut lock = QueryBuilder::<$database>::new(limit_sql::PUT);
                lock.push_values(&keys.keys, |mut row, (quota, who)| {
                    row.push_bind(quota.to_string()).push_bind(who.to_vec()).push_bind(0_i64);
                });
                lock.push(Self::STATEMENTS.lock);
                let Some(read) = Self::STATEMENTS.read else {
                    return lock.build_query_as().fetch_all(connection).await;
                };
                lock.build().execute(&mut *connection).await?;
                // They are ours: what is read is what there is.
                let mut look = QueryBuilder::<$database>::new(read);
                let mut list = look.separated(" OR ");
                for (quota, who) in &keys.keys {
                    list.push("(quota = ").push_bind_unseparated(quota.to_string());
                    list.push_unseparated(" AND who = ").push_bind_unseparated(who.to_vec());
                    list.push_unseparated(")");
                }
                look.build_query_as().fetch_all(connection).await
            }
            fn sweep(&self) {
                if !self.sweeps.begin() {
                    return;
                }
                let (pool, sweeps) = (self.pool.clone(), Arc::clone(&self.sweeps));
                tokio::spawn(async move {
                    let swept = sqlx::query(Self::STATEMENTS.sweep).execute(&pool).await;
                    sweeps.end();
                    match swept {
                        // The next one does it.
                        Err(error) if !is_conflict(&error) => {
                            tracing::warn!("old rows of quotas are not taken away: {error}");
                        }
                        _ => {}
                    }
                });
            }
        }

        #[async_trait]
        impl QuotaStore for $quotas {
            async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError> {
                self.sweep();
                if takes.is_empty() {
                    return Ok(Vec::new());
                }
                if let [take] = takes
                    && let Some(taken) = retried!($at_once(&self.pool, take).await)?
                {
                    return Ok(vec![taken]);
                }
                retried!(self.try_take(takes).await)
            }
            async fn settle(&self, take: &Take, units: i64) -> Result<(), QuotaStoreError> {
                let measure = Measure::of(take.rate);
                let (by, owed) = (measure.micros(units), measure.owed(Duration::ZERO));
                let done = retried!(
                    sqlx::query(Self::STATEMENTS.settle)
                        .bind(&*take.quota)
                        .bind(&take.who[..])
                        .bind(by)
                        .bind(owed)
                        .bind(by)
                        .bind(owed)
                        .execute(&self.pool)
                        .await
                );
                done.map(drop)
            }
        }
    };
}

#[cfg(feature = "postgres")]
quotas!(
    PgStores,
    /// Quotas on PostgreSQL: one statement and one round trip for a take by itself that is all or nothing, and four for several, or for as much as there is room for. (A pool
    /// that tests its connections, as one does unless it is told otherwise, makes one more.) The table is unlogged: a crash of the server, and a standby that takes over, forgets
    /// what was counted, as if its time had passed, and each call writes less for that.
    PgQuotas,
    sqlx::Postgres,
    POSTGRES,
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    now_of_the_database,
    take_postgres
);

#[cfg(feature = "sqlite")]
quotas!(
    SqliteStores,
    /// Quotas on SQLite, for processes on one machine, whose clock counts: one transaction, which has the file to itself.
    SqliteQuotas,
    sqlx::Sqlite,
    SQLITE,
    "BEGIN IMMEDIATE",
    now_of_the_host,
    take_in_a_transaction
);

#[cfg(feature = "mysql")]
quotas!(
    MySqlStores,
    /// Quotas on `MySQL` and MariaDB: one transaction of five round trips, and of four where it refuses.
    MySqlQuotas,
    sqlx::MySql,
    MYSQL,
    "START TRANSACTION",
    now_of_the_database,
    take_in_a_transaction
);

/// As the rows say it.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn now_of_the_database(now: i64) -> i64 {
    now
}

/// SQLite has the clock of the host, and knows thousandths of a second: of several takes in one of these, what is rounded up would add up.
#[cfg(feature = "sqlite")]
fn now_of_the_host(_: i64) -> i64 {
    crate::row::micros(portcullis_core::Clock::system().wall())
}

/// Nothing is said by one statement.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "another database is asked")]
async fn take_in_a_transaction<P>(_: &P, _: &Take) -> sqlx::Result<Option<Taken>> {
    Ok(None)
}

/// All or nothing by one statement, unless it is more than one can say.
#[cfg(feature = "postgres")]
async fn take_postgres(pool: &sqlx::PgPool, take: &Take) -> sqlx::Result<Option<Taken>> {
    use crate::limit_step::length;

    let measure = Measure::of(take.rate);
    let (limit, owed) = (measure.limit(take), measure.owed(take.patience));
    let Ok(needs) = i64::try_from(take.needs) else { return Ok(None) };
    if take.most != take.needs || limit < 0 {
        return Ok(None);
    }
    let row = sqlx::query_as::<_, (bool, i64)>(limit_sql::TAKE_POSTGRES);
    let row = row.bind(&*take.quota).bind(&take.who[..]);
    let row = row.bind(measure.micros(needs)).bind(limit);
    let taken = match row.fetch_optional(pool).await? {
        Some((true, ahead)) => Taken::new(true, take.needs, length(ahead)),
        // A clock was set back: the row is to be changed nevertheless.
        Some((false, ahead)) if ahead > owed => return Ok(None),
        // It was refused, whatever was there when the statement began.
        Some((false, ahead)) => Taken::new(false, 0, length(ahead.max(limit + 1))),
        None => Taken::new(false, 0, length(limit + 1)),
    };
    Ok(Some(taken))
}
