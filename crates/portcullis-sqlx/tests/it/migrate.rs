//! Tables are made once, whoever makes them, and other ones are refused.
use portcullis_authz::{RoleEdit, RoleModel, RoleStore};
use portcullis_ratelimit::QuotaStore;
use portcullis_sqlx::{ManagedUsers, MySqlStores, PgStores, Rights, SchemaError, SqliteStores};
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
                assert!(matches!(old, SchemaError::Old { found: 0, wanted: 4 }), "{old}");
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
                assert_eq!(rows, 4);
                stores.migrate().await.unwrap();
                stores.sessions().await.unwrap();
                let newer = "INSERT INTO portcullis_migrations (version, made) VALUES (99, 0)";
                sqlx::query(newer).execute(&pool).await.unwrap();
                for refused in [stores.migrate().await, stores.sessions().await.map(drop)] {
                    let new = refused.unwrap_err();
                    assert!(matches!(new, SchemaError::New { found: 99, wanted: 4 }), "{new}");
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

/// What was there before stays, and what came since is there too.
macro_rules! from_before {
    ($name:ident, $with:ident, $stores:ident, $version:literal) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                for statement in $stores::SCHEMA.split(";\n") {
                    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
                    let made = [concat!("SELECT ", $version, ", 0"), concat!("VALUES (", $version, ", 0)")];
                    if made.iter().any(|made| statement.contains(made)) {
                        break;
                    }
                }
                let odd = "INSERT INTO portcullis_users (id, email, spelled, disabled, roles, created) VALUES ('u-1', 'ada@acme.example', 'ada@acme.example', FALSE, 'clerk', 0)";
                sqlx::query(odd).execute(&pool).await.unwrap();
                let all = [stores.roles().await.map(drop), stores.quotas().await.map(drop)];
                for old in all {
                    let old = old.unwrap_err();
                    assert!(matches!(old, SchemaError::Old { found: $version, wanted: 4 }), "{old}");
                }
                for _ in 0..2 {
                    stores.migrate().await.unwrap();
                    let users = stores.users().await.unwrap();
                    let rights = users.rights("u-1").await.unwrap();
                    assert_eq!(rights, Some(Rights::of(["clerk"])));
                    let roles = std::sync::Arc::new(stores.roles().await.unwrap());
                    let add = RoleEdit::add_role("clerk");
                    roles.change(&RoleModel::default(), &[add]).await.unwrap();
                    let delete = RoleEdit::delete_role("clerk");
                    roles.change(&RoleModel::default(), &[delete]).await.unwrap();
                }
                stores.quotas().await.unwrap().take(&[]).await.unwrap();
                // Migrations that were made already do not set the number of the roles back.
                let roles = stores.roles().await.unwrap();
                assert_eq!(roles.version().await.unwrap(), 5);
            })
            .await;
        }
    };
}

from_before!(postgres_keeps_what_it_had_of_version_2, with_postgres, PgStores, 2);
from_before!(mariadb_keeps_what_it_had_of_version_2, with_mysql, MySqlStores, 2);
from_before!(sqlite_keeps_what_it_had_of_version_2, with_sqlite, SqliteStores, 2);
from_before!(postgres_keeps_what_it_had_of_version_3, with_postgres, PgStores, 3);
from_before!(mariadb_keeps_what_it_had_of_version_3, with_mysql, MySqlStores, 3);
from_before!(sqlite_keeps_what_it_had_of_version_3, with_sqlite, SqliteStores, 3);
