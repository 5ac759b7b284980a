//! The stores, one type for each database.
use std::collections::HashSet;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_authn::{SessionDigest, SessionRecord, SessionStore, Touch};
use sqlx::QueryBuilder;

use crate::retry::{Answer, TRIES, is_conflict, retried};
use crate::row::{Bound, Row, digest, failed, micros, owner_digest, record, signed};
use crate::schema::{SchemaError, VERSION};
use crate::sql;

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
            pub(crate) pool: sqlx::Pool<$database>,
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
                // Who may not change tables may run where there is nothing to change.
                if self.version().await? < VERSION {
                    $migrate(&self.pool).await?;
                }
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
            pub(crate) async fn check(&self) -> Result<(), SchemaError> {
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
                let Some(record) = record(row) else { return Ok(None) };
                if touch.marks(record.used) {
                    let now = micros(touch.now);
                    let mark = sqlx::query(sql::$statements::TOUCH);
                    let mark = mark.bind(now).bind(&id.as_bytes()[..]).bind(now);
                    // A database that takes no change can still be read.
                    if let Err(error) = mark.execute(&self.pool).await {
                        tracing::warn!("a session is not marked as used: {error}");
                    }
                }
                Ok(Some(record))
            }
            async fn create(&self, record: SessionRecord) -> Answer<()> {
                let row = Bound::of(&record);
                retried!(
                    sqlx::query(sql::$statements::CREATE)
                        .bind(&row.digest[..])
                        .bind(row.owner.as_deref())
                        .bind(row.identity.as_deref())
                        .bind(row.created)
                        .bind(row.used)
                        .bind(row.expires)
                        .bind(&*record.data)
                        .bind(row.version)
                        .bind(record.agent.as_deref())
                        .execute(&self.pool)
                        .await
                )?;
                Ok(())
            }
            async fn replace(
                &self,
                id: &SessionDigest,
                record: SessionRecord,
                keeps_data: bool,
            ) -> Answer<bool> {
                let row = Bound::of(&record);
                let done = retried!(
                    sqlx::query(sql::$statements::REPLACE)
                        .bind(&row.digest[..])
                        .bind(row.owner.as_deref())
                        .bind(row.identity.as_deref())
                        .bind(row.created)
                        .bind(row.used)
                        .bind(row.expires)
                        .bind(keeps_data)
                        .bind(&*record.data)
                        .bind(keeps_data)
                        .bind(row.version)
                        .bind(record.agent.as_deref())
                        .bind(&id.as_bytes()[..])
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
                let done = retried!(
                    sqlx::query(sql::$statements::WRITE)
                        .bind(data)
                        .bind(&id.as_bytes()[..])
                        .bind(signed(version))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn end(&self, id: &SessionDigest) -> Answer<bool> {
                let done = retried!(
                    sqlx::query(sql::$statements::END)
                        .bind(&id.as_bytes()[..])
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
                let rows = sqlx::query_as::<_, Row>(sql::$statements::LIST);
                let rows = rows.bind(owner_digest(owner)).fetch_all(&self.pool).await;
                Ok(rows.map_err(failed)?.into_iter().filter_map(record).collect())
            }
            async fn end_all(
                &self,
                owner: &str,
                but: Option<&SessionDigest>,
            ) -> Answer<Vec<SessionDigest>> {
                // No session has an empty digest.
                let but = but.map_or_else(Vec::new, |but| but.as_bytes().to_vec());
                let owner = owner_digest(owner);
                let ended = $end_all(&self.pool, &owner, &but).await?;
                ended.into_iter().map(|(id,)| digest(id)).collect()
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
            async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Answer<u64> {
                let done = retried!(
                    sqlx::query(sql::$statements::SWEEP)
                        .bind(micros(now))
                        .bind(micros(unused_since))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected())
            }
        }
    };
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
async fn migrate_postgres(pool: &sqlx::PgPool) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    // `IF NOT EXISTS` alone fails where two do it at once.
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.execute(&mut *transaction).await?;
    sqlx::raw_sql(sql::POSTGRES).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(feature = "sqlite")]
async fn migrate_sqlite(pool: &sqlx::SqlitePool) -> sqlx::Result<()> {
    // It has the file to itself from the beginning: who begins to read first cannot go on to write beside another one.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(sql::SQLITE).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Where a deletion says what is gone.
macro_rules! end_all {
    ($feature:literal, $name:ident, $pool:ty) => {
        #[cfg(feature = $feature)]
        async fn $name(pool: &$pool, owner: &[u8], but: &[u8]) -> Answer<Vec<(Vec<u8>,)>> {
            let end_all = sql::dollar::END_ALL;
            retried!(sqlx::query_as(end_all).bind(owner).bind(but).fetch_all(pool).await)
        }
    };
}

end_all!("postgres", end_all_postgres, sqlx::PgPool);
end_all!("sqlite", end_all_sqlite, sqlx::SqlitePool);

#[cfg(feature = "mysql")]
async fn migrate_mysql(pool: &sqlx::MySqlPool) -> sqlx::Result<()> {
    // Each of these commits by itself, and each changes nothing where it was made already.
    for statement in sql::MYSQL.split(";\n") {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(pool).await?;
    }
    Ok(())
}

/// `DELETE .. RETURNING` is MariaDB's alone. What another one has put in the place of a session meanwhile is found the next time, until there is none.
#[cfg(feature = "mysql")]
async fn end_all_mysql(
    pool: &sqlx::MySqlPool,
    owner: &[u8],
    but: &[u8],
) -> Answer<Vec<(Vec<u8>,)>> {
    let mut all = Vec::new();
    loop {
        let chosen = retried!(end_some_mysql(pool, owner, but).await)?;
        if chosen.is_empty() {
            return Ok(all);
        }
        all.extend(chosen);
    }
}

#[cfg(feature = "mysql")]
async fn end_some_mysql(
    pool: &sqlx::MySqlPool,
    owner: &[u8],
    but: &[u8],
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    let mut transaction = pool.begin().await?;
    let chosen = sqlx::query_as::<_, (Vec<u8>,)>(sql::question::END_ALL);
    let chosen = chosen.bind(owner).bind(but).fetch_all(&mut *transaction).await?;
    for (id,) in &chosen {
        sqlx::query(sql::question::END).bind(id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(chosen)
}
