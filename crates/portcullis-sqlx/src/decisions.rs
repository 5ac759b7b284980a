//! The decision log in a database, one type for each.
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_authz::{DecisionRecord, DecisionSink};
use portcullis_core::MetricSource;
use sqlx::QueryBuilder;
use tokio::sync::{mpsc, oneshot};

use crate::retry::{Answer, TRIES, is_conflict, retried};
use crate::row::{failed, micros};
use crate::sql;

/// How many wait to be written at most.
const WAITING: usize = 10_000;
/// How many are written by one statement at most.
const ROWS: usize = 500;
/// How often it is tried to write some, and how long it is until the next time.
const WRITES: usize = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// How many characters of a subject stand in its column: all of it stands in the document.
const SUBJECT: usize = 255;

enum Item {
    Record(Box<DecisionRecord>),
    /// All that came before it is to be written.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    fn lose(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl MetricSource for Counts {
    fn write(&self, out: &mut String) {
        for (name, help, count) in [
            ("written", "Decisions that were written to the database.", &self.written),
            (
                "dropped",
                "Decisions that were not: too many waited, or the database took none.",
                &self.dropped,
            ),
        ] {
            let count = count.load(Ordering::Relaxed);
            _ = writeln!(
                out,
                "# HELP portcullis_decisions_{name}_total {help}\n# TYPE portcullis_decisions_{name}_total counter\nportcullis_decisions_{name}_total {count}"
            );
        }
    }
}

/// A record as a database has it.
struct Row {
    time: i64,
    verdict: &'static str,
    subject: Option<String>,
    document: String,
}

impl Row {
    fn of(record: &DecisionRecord) -> Self {
        let plain = |c: char| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c };
        let subject = record.subject.as_ref();
        Self {
            time: micros(record.time),
            verdict: record.verdict.as_str(),
            subject: subject.map(|text| text.chars().take(SUBJECT).map(plain).collect()),
            // JSON has no NUL in it.
            document: record.to_json().to_string(),
        }
    }
}

/// The same for each database.
macro_rules! decisions {
    (
        $stores:ident, $(#[$doc:meta])* $decisions:ident, $database:ty, $statements:ident
    ) => {
        impl crate::stores::$stores {
            /// The decision log, whose task begins to write on this runtime.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn decisions(&self) -> Result<$decisions, crate::SchemaError> {
                self.check().await?;
                let (queue, waiting) = mpsc::channel(WAITING);
                let log = $decisions { pool: self.pool.clone(), queue, counts: Arc::default() };
                tokio::spawn($decisions::run(log.pool.clone(), waiting, Arc::clone(&log.counts)));
                Ok(log)
            }
        }

        $(#[$doc])*
        ///
        /// A task writes what is decided, up to 500 of them by one statement; nobody who is decided about waits for it. Of what it cannot write yet 10,000
        /// wait, and it is tried again for 30 seconds. What comes beyond that is dropped and [counted](Self::dropped). Cheap to clone; when the last clone is
        /// dropped, what waits is written, as long as the runtime lasts: [`flush`](Self::flush) before its end.
        #[derive(Clone)]
        pub struct $decisions {
            pool: sqlx::Pool<$database>,
            queue: mpsc::Sender<Item>,
            counts: Arc<Counts>,
        }

        impl $decisions {
            /// How many were not written: too many waited, or the database took none.
            pub fn dropped(&self) -> u64 {
                self.counts.dropped.load(Ordering::Relaxed)
            }
            /// Waits until all that came so far is written, or given up.
            ///
            /// # Cancellation
            /// It is written all the same.
            pub async fn flush(&self) {
                let (done, wait) = oneshot::channel();
                if self.queue.send(Item::Flush(done)).await.is_ok() {
                    drop(wait.await);
                }
            }
            /// Calls `each` with every decision since then, the oldest first; 1,000 are in memory at once.
            ///
            /// # Errors
            /// The database cannot answer.
            pub async fn each(
                &self,
                since: SystemTime,
                mut each: impl FnMut(DecisionRecord),
            ) -> Answer<()> {
                let mut last = (micros(since), i64::MIN);
                let mut unread = 0_u64;
                loop {
                    let rows = sqlx::query_as::<_, (i64, i64, String)>(sql::$statements::DECISIONS);
                    let rows = rows.bind(last.0).bind(last.0).bind(last.1);
                    let rows = rows.fetch_all(&self.pool).await.map_err(failed)?;
                    let Some((id, time, _)) = rows.last() else { break };
                    last = (*time, *id);
                    for (_, _, document) in rows {
                        let value = serde_json::from_str(&document).ok();
                        match value.as_ref().and_then(DecisionRecord::from_json) {
                            Some(record) => each(record),
                            None => unread += 1,
                        }
                    }
                }
                if unread > 0 {
                    tracing::warn!("{unread} decisions are none that this program can read");
                }
                Ok(())
            }
            /// All decisions since then, the oldest first.
            ///
            /// # Errors
            /// The database cannot answer.
            pub async fn all(&self, since: SystemTime) -> Answer<Vec<DecisionRecord>> {
                let mut all = Vec::new();
                self.each(since, |record| all.push(record)).await?;
                Ok(all)
            }
            /// Takes away what is older than that, and says how many they were. Nobody else does.
            ///
            /// # Errors
            /// The database cannot answer.
            pub async fn forget(&self, before: SystemTime) -> Answer<u64> {
                let done = retried!(
                    sqlx::query(sql::$statements::FORGET_DECISIONS)
                        .bind(micros(before))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected())
            }
            async fn run(
                pool: sqlx::Pool<$database>,
                mut waiting: mpsc::Receiver<Item>,
                counts: Arc<Counts>,
            ) {
                let (mut items, mut rows, mut told) = (Vec::new(), Vec::new(), 0);
                while waiting.recv_many(&mut items, ROWS).await > 0 {
                    for item in items.drain(..) {
                        match item {
                            Item::Record(record) => rows.push(Row::of(&record)),
                            Item::Flush(done) => {
                                Self::write_all(&pool, &mut rows, &counts).await;
                                // Whoever waited may have gone.
                                _ = done.send(());
                            }
                        }
                    }
                    Self::write_all(&pool, &mut rows, &counts).await;
                    let dropped = counts.dropped.load(Ordering::Relaxed);
                    if dropped > told {
                        tracing::warn!("{} decisions were not written", dropped - told);
                        told = dropped;
                    }
                }
            }
            async fn write_all(pool: &sqlx::Pool<$database>, rows: &mut Vec<Row>, counts: &Counts) {
                if rows.is_empty() {
                    return;
                }
                let mut tries = 1;
                while let Err(error) = Self::insert(pool, rows).await {
                    if tries == 1 {
                        tracing::warn!("decisions wait, for they cannot be written: {error}");
                    }
                    if tries == WRITES {
                        counts.lose(rows.len());
                        rows.clear();
                        return;
                    }
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                counts.written.fetch_add(rows.len() as u64, Ordering::Relaxed);
                rows.clear();
            }
            async fn insert(pool: &sqlx::Pool<$database>, rows: &[Row]) -> sqlx::Result<()> {
                let mut query = QueryBuilder::<$database>::new(sql::$statements::PUT_DECISIONS);
                query.push_values(rows, |mut put, row| {
                    put.push_bind(row.time).push_bind(row.verdict);
                    put.push_bind(row.subject.clone()).push_bind(row.document.clone());
                });
                query.build().execute(pool).await.map(drop)
            }
        }

        impl DecisionSink for $decisions {
            fn write(&self, record: DecisionRecord) {
                if self.queue.try_send(Item::Record(Box::new(record))).is_err() {
                    self.counts.lose(1);
                }
            }
        }

        /// `portcullis_decisions_written_total` and `portcullis_decisions_dropped_total`.
        impl MetricSource for $decisions {
            fn write(&self, out: &mut String) {
                MetricSource::write(&*self.counts, out);
            }
        }

        impl fmt::Debug for $decisions {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($decisions))
                    .field("counts", &self.counts)
                    .finish_non_exhaustive()
            }
        }
    };
}

#[cfg(feature = "postgres")]
decisions!(
    PgStores,
    /// The decision log on PostgreSQL.
    PgDecisions,
    sqlx::Postgres,
    dollar
);

#[cfg(feature = "sqlite")]
decisions!(
    SqliteStores,
    /// The decision log on SQLite.
    SqliteDecisions,
    sqlx::Sqlite,
    dollar
);

#[cfg(feature = "mysql")]
decisions!(
    MySqlStores,
    /// The decision log on `MySQL` and MariaDB.
    MySqlDecisions,
    sqlx::MySql,
    question
);
