//! Every store on every database.
use std::sync::Arc;

use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use portcullis_testkit::{
    account_endpoints_contract, key_store_contract, one_time_tokens_contract, quota_store_contract,
    role_store_contract, session_store_contract, users_contract,
};

use crate::support::{with_mysql, with_postgres, with_sqlite, with_sqlite_memory};

/// The same on each database.
macro_rules! keeps {
    ($name:ident, $with:ident, $stores:ident, $which:ident, $contract:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool);
                stores.migrate().await.unwrap();
                $contract(Arc::new(stores.$which().await.unwrap())).await;
            })
            .await;
        }
    };
}

/// The endpoints over all stores of a database.
macro_rules! endpoints {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool);
                stores.migrate().await.unwrap();
                let (users, tokens) =
                    (stores.users().await.unwrap(), stores.tokens().await.unwrap());
                let (keys, sessions) =
                    (stores.keys().await.unwrap(), stores.sessions().await.unwrap());
                account_endpoints_contract(users, tokens, keys, sessions).await;
            })
            .await;
        }
    };
}

endpoints!(postgres_does_once_what_may_be_done_once, with_postgres, PgStores);
endpoints!(mariadb_does_once_what_may_be_done_once, with_mysql, MySqlStores);
endpoints!(sqlite_does_once_what_may_be_done_once, with_sqlite, SqliteStores);
keeps!(postgres_keeps_sessions, with_postgres, PgStores, sessions, session_store_contract);
keeps!(postgres_keeps_users, with_postgres, PgStores, users, users_contract);
keeps!(postgres_keeps_tokens, with_postgres, PgStores, tokens, one_time_tokens_contract);
keeps!(postgres_keeps_keys, with_postgres, PgStores, keys, key_store_contract);
keeps!(mariadb_keeps_sessions, with_mysql, MySqlStores, sessions, session_store_contract);
keeps!(mariadb_keeps_users, with_mysql, MySqlStores, users, users_contract);
keeps!(mariadb_keeps_tokens, with_mysql, MySqlStores, tokens, one_time_tokens_contract);
keeps!(mariadb_keeps_keys, with_mysql, MySqlStores, keys, key_store_contract);
keeps!(sqlite_keeps_sessions, with_sqlite, SqliteStores, sessions, session_store_contract);
keeps!(sqlite_keeps_users, with_sqlite, SqliteStores, users, users_contract);
keeps!(sqlite_keeps_tokens, with_sqlite, SqliteStores, tokens, one_time_tokens_contract);
keeps!(sqlite_keeps_keys, with_sqlite, SqliteStores, keys, key_store_contract);
keeps!(postgres_keeps_roles, with_postgres, PgStores, roles, role_store_contract);
keeps!(mariadb_keeps_roles, with_mysql, MySqlStores, roles, role_store_contract);
keeps!(sqlite_keeps_roles, with_sqlite, SqliteStores, roles, role_store_contract);
keeps!(sqlite_keeps_roles_in_memory, with_sqlite_memory, SqliteStores, roles, role_store_contract);
keeps!(postgres_keeps_quotas, with_postgres, PgStores, quotas, quota_store_contract);
keeps!(mariadb_keeps_quotas, with_mysql, MySqlStores, quotas, quota_store_contract);
keeps!(sqlite_keeps_quotas, with_sqlite, SqliteStores, quotas, quota_store_contract);
keeps!(
    sqlite_keeps_quotas_in_memory,
    with_sqlite_memory,
    SqliteStores,
    quotas,
    quota_store_contract
);
