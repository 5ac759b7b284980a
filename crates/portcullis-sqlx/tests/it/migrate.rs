//! Tables are made once, whoever makes them, and other ones are refused.
use portcullis_sqlx::{MySqlStores, PgStores, SchemaError, SqliteStores};
use sqlx::AssertSqlSafe;

use crate::support::{with_mysql, with_postgres, with_sqlite};

/// The same on each database.
macro_rules! on {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                let old = stores.sessions().await.unwrap_err();
                assert!(matches!(old, SchemaError::Old { found: 0, wanted: 2 }), "{old}");
                assert!(old.to_string().contains("call `migrate`"), "{old}");
                // 50 processes that start at once.
                let all = (0..50).map(|_| {
                    let stores = stores.clone();
                    tokio::spawn(async move { stores.migrate().await })
                });
                for task in all.collect::<Vec<_>>() {
                    task.await.unwrap().unwrap();
                }
                let count = "SELECT COUNT(*) FROM portcullis_migrations";
                let (rows,): (i64,) = sqlx::query_as(count).fetch_one(&pool).await.unwrap();
                assert_eq!(rows, 2);
                stores.migrate().await.unwrap();
                stores.sessions().await.unwrap();
                let newer = "INSERT INTO portcullis_migrations (version, made) VALUES (99, 0)";
                sqlx::query(newer).execute(&pool).await.unwrap();
                for refused in [stores.migrate().await, stores.sessions().await.map(drop)] {
                    let new = refused.unwrap_err();
                    assert!(matches!(new, SchemaError::New { found: 99, wanted: 2 }), "{new}");
                }
                pool.close().await;
                let away = stores.migrate().await.unwrap_err();
                assert!(matches!(away, SchemaError::Database(_)), "{away}");
            })
            .await;
        }
    };
}

/// As text, the tables are the same.
macro_rules! as_text {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                for _ in 0..2 {
                    for statement in $stores::SCHEMA.split(";\n") {
                        let made = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await;
                        made.unwrap();
                    }
                    let store = stores.sessions().await.unwrap();
                    portcullis_testkit::session_store_contract(std::sync::Arc::new(store)).await;
                }
            })
            .await;
        }
    };
}

as_text!(postgres_takes_its_tables_as_text, with_postgres, PgStores);
as_text!(mariadb_takes_its_tables_as_text, with_mysql, MySqlStores);
as_text!(sqlite_takes_its_tables_as_text, with_sqlite, SqliteStores);

on!(postgres_has_its_tables_once, with_postgres, PgStores);
on!(mariadb_has_its_tables_once, with_mysql, MySqlStores);
on!(sqlite_has_its_tables_once, with_sqlite, SqliteStores);
