//! Sessions on a real server, which `cargo xtask services` starts.
#![cfg(feature = "server-tests")]
#![cfg(test)]
use std::sync::Arc;

use portcullis_redis::RedisSessions;
use portcullis_testkit::session_store_contract;

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let prefix = format!("portcullis-test-{}", std::process::id());
    let store = RedisSessions::connect("redis://127.0.0.1:6379", &prefix).await;
    let store = store.expect("Redis answers: `cargo xtask services`");
    session_store_contract(Arc::new(store)).await;
}
