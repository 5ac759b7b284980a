//! Sessions on a real server, which `cargo xtask services` starts.
#![cfg(feature = "server-tests")]
#![cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use portcullis_authn::{
    MemoryKeys, MemoryUsers, SessionDigest, SessionRecord, SessionStore, Touch,
};
use portcullis_core::Clock;
use portcullis_redis::{RedisSessions, RedisTokens};
use portcullis_testkit::{
    account_endpoints_contract, one_time_tokens_contract, session_store_contract,
};
use redis::aio::ConnectionManager;

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let prefix = format!("portcullis-test-{}", std::process::id());
    let store = RedisSessions::connect("redis://127.0.0.1:6379", &prefix).await;
    let store = store.expect("Redis answers: `cargo xtask services`");
    session_store_contract(Arc::new(store.clone())).await;
    one_time_tokens_contract(Arc::new(RedisTokens::beside(&store))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_does_once_what_may_be_done_once() {
    let prefix = format!("portcullis-test-once-{}", std::process::id());
    let store = RedisSessions::connect("redis://127.0.0.1:6379", &prefix).await;
    let store = store.expect("Redis answers: `cargo xtask services`");
    let (users, tokens) = (MemoryUsers::new(), RedisTokens::beside(&store));
    account_endpoints_contract(users, tokens, MemoryKeys::new(), store).await;
    let client = redis::Client::open("redis://127.0.0.1:6379").unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{{{prefix}}}*")).query_async(&mut other).await.unwrap();
    let _: () = redis::cmd("DEL").arg(keys).query_async(&mut other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_back_when_its_connection_was_killed() {
    let client = redis::Client::open("redis://127.0.0.1:6379").unwrap();
    let connection = ConnectionManager::new(client.clone()).await;
    let connection = connection.expect("Redis answers: `cargo xtask services`");
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let prefix = format!("portcullis-test-killed-{}", std::process::id());
    let store = RedisSessions::from_connection(connection.clone(), &prefix);
    let (id, now) = (SessionDigest::from_bytes([7; 32]), Clock::system().wall());
    let hour = Duration::from_secs(3_600);
    store.create(SessionRecord::new(id, now, now + hour)).await.unwrap();
    for _ in 0..5 {
        let own = redis::cmd("CLIENT").arg("ID").query_async(&mut connection.clone()).await;
        let own: i64 = own.unwrap();
        let kill = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(own).clone();
        let killed: i64 = kill.query_async(&mut other).await.unwrap();
        assert_eq!(killed, 1);
        let back = async {
            loop {
                // Until it is back it says nothing that is not so.
                match store.open(&id, Touch::new(Clock::system().wall(), hour, hour)).await {
                    Ok(record) => break assert!(record.is_some()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(2), back).await.expect("within 2 s");
    }
    assert!(store.end(&id).await.unwrap());
}
