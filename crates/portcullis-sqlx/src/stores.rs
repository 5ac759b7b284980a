//! The stores, one type for each database.
use std::collections::HashSet;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_authn::{SessionDigest, SessionRecord, SessionStore, StoreError, Touch};
use sqlx::QueryBuilder;

use crate::row::{Row, digest, failed, micros, owner_digest, record, signed};
use crate::schema::{SchemaError, VERSION};
use crate::sql;

type Answer<T> = Result<T, StoreError>;

/// Whether a table is not there.
fn is_no_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let code = error.code();
    ["42P01", "42S02"].iter().any(|own| code.as_deref() == Some(own))
        || error.message().starts_with("no such table")
}

macro_rules! stores {
    (
        $(#[$doc:meta])* $stores:ident, $(#[$sessions_doc:meta])* $sessions:ident, $database:ty, $statements:ident, $schema:ident, $migrate:ident, $end_all:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $stores {
            pool: sqlx::Pool<$database>,
        }

        impl $stores {
            /// The tables as text, for who makes changes to a database in another way than by [`migrate`](Self::migrate). Making them again changes nothing.
            pub const SCHEMA: &str = sql::$schema;

            /// Stores over this pool.
            pub fn from_pool(pool: sqlx::Pool<$database>) -> Self {
                Self { pool }
            }
            /// Makes the tables, where they are not there. Any number of processes may do so at once.
            ///
            /// # Errors
            /// The database cannot answer, or has tables of a newer program.
            pub async fn migrate(&self) -> Result<(), SchemaError> {
                if self.version().await? > VERSION {
                    return self.check().await;
                }
                let made = micros(now());
                $migrate(&self.pool, made).await?;
                self.check().await
            }
            /// The sessions. Cheap to clone.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn sessions(&self) -> Result<$sessions, SchemaError> {
                self.check().await?;
                Ok($sessions { pool: self.pool.clone() })
            }
            async fn version(&self) -> Result<i64, SchemaError> {
                let version = sqlx::query_as::<_, (i64,)>(sql::$statements::SCHEMA_VERSION);
                match version.fetch_one(&self.pool).await {
                    Ok((version,)) => Ok(version),
                    Err(error) if is_no_table(&error) => Ok(0),
                    Err(error) => Err(error.into()),
                }
            }
            async fn check(&self) -> Result<(), SchemaError> {
                let (found, wanted) = (self.version().await?, VERSION);
                match found.cmp(&wanted) {
                    std::cmp::Ordering::Equal => Ok(()),
                    std::cmp::Ordering::Less => Err(SchemaError::Old { found, wanted }),
                    std::cmp::Ordering::Greater => Err(SchemaError::New { found, wanted }),
                }
            }
        }

        $(#[$sessions_doc])*
        #[derive(Clone, Debug)]
        pub struct $sessions {
            pool: sqlx::Pool<$database>,
        }

        #[async_trait]
        impl SessionStore for $sessions {
            async fn open(&self, id: &SessionDigest, touch: Touch) -> Answer<Option<SessionRecord>> {
                let row = sqlx::query_as::<_, Row>(sql::$statements::OPEN);
                let row = row.bind(&id.as_bytes()[..]).bind(micros(touch.now));
                let Some(row) = row.fetch_optional(&self.pool).await.map_err(failed)? else {
                    return Ok(None);
                };
                let record = record(row)?;
                if touch.marks(record.used) {
                    let now = micros(touch.now);
                    let mark = sqlx::query(sql::$statements::TOUCH);
                    let mark = mark.bind(now).bind(&id.as_bytes()[..]).bind(now);
                    mark.execute(&self.pool).await.map_err(failed)?;
                }
                Ok(Some(record))
            }
            async fn create(&self, record: SessionRecord) -> Answer<()> {
                let query = sqlx::query(sql::$statements::CREATE)
                    .bind(record.digest.as_bytes().to_vec())
                    .bind(record.owner().map(|owner| owner_digest(&owner)))
                    .bind(record.identity.map(|identity| identity.to_json().to_string()))
                    .bind(micros(record.created))
                    .bind(micros(record.used))
                    .bind(micros(record.expires))
                    .bind(record.data.to_string())
                    .bind(signed(record.version))
                    .bind(record.agent.map(|agent| agent.to_string()));
                query.execute(&self.pool).await.map_err(failed)?;
                Ok(())
            }
            async fn replace(
                &self,
                id: &SessionDigest,
                record: SessionRecord,
                keeps_data: bool,
            ) -> Answer<bool> {
                let query = sqlx::query(sql::$statements::REPLACE)
                    .bind(record.digest.as_bytes().to_vec())
                    .bind(record.owner().map(|owner| owner_digest(&owner)))
                    .bind(record.identity.map(|identity| identity.to_json().to_string()))
                    .bind(micros(record.created))
                    .bind(micros(record.used))
                    .bind(micros(record.expires))
                    .bind(keeps_data)
                    .bind(record.data.to_string())
                    .bind(keeps_data)
                    .bind(signed(record.version))
                    .bind(record.agent.map(|agent| agent.to_string()))
                    .bind(id.as_bytes().to_vec());
                let done = query.execute(&self.pool).await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }
            async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
                let query = sqlx::query(sql::$statements::WRITE);
                let query = query.bind(data).bind(&id.as_bytes()[..]).bind(signed(version));
                let done = query.execute(&self.pool).await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }
            async fn end(&self, id: &SessionDigest) -> Answer<bool> {
                let query = sqlx::query(sql::$statements::END).bind(&id.as_bytes()[..]);
                let done = query.execute(&self.pool).await.map_err(failed)?;
                Ok(done.rows_affected() == 1)
            }
            async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
                let rows = sqlx::query_as::<_, Row>(sql::$statements::LIST);
                let rows = rows.bind(owner_digest(owner)).fetch_all(&self.pool).await;
                rows.map_err(failed)?.into_iter().map(record).collect()
            }
            async fn end_all(
                &self,
                owner: &str,
                but: Option<&SessionDigest>,
            ) -> Answer<Vec<SessionDigest>> {
                // No session has an empty digest.
                let but = but.map_or_else(Vec::new, |but| but.as_bytes().to_vec());
                let ended = $end_all(&self.pool, owner_digest(owner), but).await;
                ended.map_err(failed)?.into_iter().map(|(id,)| digest(id)).collect()
            }
            async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
                if ids.is_empty() {
                    return Ok(Vec::new());
                }
                let mut query = QueryBuilder::<$database>::new(sql::$statements::MISSING);
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(id.as_bytes().to_vec());
                }
                query.push(")");
                let found = query.build_query_as::<(Vec<u8>,)>().fetch_all(&self.pool).await;
                let found = found.map_err(failed)?.into_iter().map(|(id,)| digest(id));
                let found: HashSet<_> = found.collect::<Result<_, _>>()?;
                Ok(ids.iter().filter(|id| !found.contains(*id)).copied().collect())
            }
            async fn sweep(&self, now: SystemTime) -> Answer<u64> {
                let query = sqlx::query(sql::$statements::SWEEP).bind(micros(now));
                Ok(query.execute(&self.pool).await.map_err(failed)?.rows_affected())
            }
        }
    };
}

/// Only for the date at which a table was made.
fn now() -> SystemTime {
    portcullis_core::Clock::system().wall()
}

#[cfg(feature = "postgres")]
stores!(
    /// Stores on PostgreSQL.
    PgStores,
    /// Sessions on PostgreSQL.
    PgSessions,
    sqlx::Postgres,
    dollar,
    POSTGRES,
    migrate_postgres,
    end_all_postgres
);

#[cfg(feature = "sqlite")]
stores!(
    /// Stores on SQLite.
    SqliteStores,
    /// Sessions on SQLite.
    SqliteSessions,
    sqlx::Sqlite,
    dollar,
    SQLITE,
    migrate_sqlite,
    end_all_sqlite
);

#[cfg(feature = "mysql")]
stores!(
    /// Stores on `MySQL` and MariaDB.
    MySqlStores,
    /// Sessions on `MySQL` and MariaDB.
    MySqlSessions,
    sqlx::MySql,
    question,
    MYSQL,
    migrate_mysql,
    end_all_mysql
);

/// A number of our own, by which processes that make tables at once wait for each other.
#[cfg(feature = "postgres")]
const LOCK: i64 = 0x706f_7274_6375_6c6c;

#[cfg(feature = "postgres")]
async fn migrate_postgres(pool: &sqlx::PgPool, made: i64) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    // `IF NOT EXISTS` alone fails where two do it at once.
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.execute(&mut *transaction).await?;
    sqlx::raw_sql(sql::POSTGRES).execute(&mut *transaction).await?;
    let row = sqlx::query(sql::dollar::MADE).bind(VERSION).bind(made).bind(VERSION);
    row.execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(feature = "postgres")]
async fn end_all_postgres(
    pool: &sqlx::PgPool,
    owner: Vec<u8>,
    but: Vec<u8>,
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    sqlx::query_as(sql::dollar::END_ALL).bind(owner).bind(but).fetch_all(pool).await
}

#[cfg(feature = "sqlite")]
async fn migrate_sqlite(pool: &sqlx::SqlitePool, made: i64) -> sqlx::Result<()> {
    // It has the file to itself from the beginning: who begins to read first cannot go on to write beside another one.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(sql::SQLITE).execute(&mut *transaction).await?;
    let row = sqlx::query(sql::dollar::MADE).bind(VERSION).bind(made).bind(VERSION);
    row.execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(feature = "sqlite")]
async fn end_all_sqlite(
    pool: &sqlx::SqlitePool,
    owner: Vec<u8>,
    but: Vec<u8>,
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    sqlx::query_as(sql::dollar::END_ALL).bind(owner).bind(but).fetch_all(pool).await
}

#[cfg(feature = "mysql")]
async fn migrate_mysql(pool: &sqlx::MySqlPool, made: i64) -> sqlx::Result<()> {
    // Each of these commits by itself, and each changes nothing where it was made already.
    for statement in sql::MYSQL.split(";\n") {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(pool).await?;
    }
    sqlx::query(sql::question::MADE).bind(VERSION).bind(made).execute(pool).await?;
    Ok(())
}

/// `DELETE .. RETURNING` is MariaDB's alone.
#[cfg(feature = "mysql")]
async fn end_all_mysql(
    pool: &sqlx::MySqlPool,
    owner: Vec<u8>,
    but: Vec<u8>,
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    let mut transaction = pool.begin().await?;
    let chosen = sqlx::query_as::<_, (Vec<u8>,)>(sql::question::END_ALL).bind(owner).bind(but);
    let chosen = chosen.fetch_all(&mut *transaction).await?;
    for (id,) in &chosen {
        sqlx::query(sql::question::END).bind(id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(chosen)
}
