//! Sessions on every database.
use std::sync::Arc;

use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use portcullis_testkit::session_store_contract;

use crate::support::{with_mysql, with_postgres, with_sqlite};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    with_postgres(async |pool| {
        let stores = PgStores::from_pool(pool);
        stores.migrate().await.unwrap();
        session_store_contract(Arc::new(stores.sessions().await.unwrap())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_the_contract() {
    with_mysql(async |pool| {
        let stores = MySqlStores::from_pool(pool);
        stores.migrate().await.unwrap();
        session_store_contract(Arc::new(stores.sessions().await.unwrap())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    with_sqlite(async |pool| {
        let stores = SqliteStores::from_pool(pool);
        stores.migrate().await.unwrap();
        session_store_contract(Arc::new(stores.sessions().await.unwrap())).await;
    })
    .await;
}
