//! Sessions and news of roles on a real server, which `cargo xtask services` starts.
#![cfg(feature = "server-tests")]
#![cfg(test)]
mod cache;
mod cache_levels;
mod cached;
mod limits;
mod own_server;
mod prefix;
mod processes;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use portcullis_authn::{
    MemoryKeys, MemoryUsers, SessionDigest, SessionRecord, SessionStore, Touch,
};
use portcullis_authz::RoleNews;
use portcullis_core::Clock;
use portcullis_redis::{RedisNews, RedisSessions, RedisTokens};
use portcullis_testkit::{
    account_endpoints_contract, one_time_tokens_contract, session_store_contract,
};
use redis::aio::ConnectionManager;

use crate::prefix::Prefix;

/// The one that all tests share.
const SERVER: &str = "redis://127.0.0.1:6379";

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let prefix = Prefix::new("sessions");
    let store = RedisSessions::connect(SERVER, &prefix).await;
    let store = store.expect("Redis answers: `cargo xtask services`");
    session_store_contract(Arc::new(store.clone())).await;
    one_time_tokens_contract(Arc::new(RedisTokens::beside(&store))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_does_once_what_may_be_done_once() {
    let prefix = Prefix::new("once");
    let store = RedisSessions::connect(SERVER, &prefix).await;
    let store = store.expect("Redis answers: `cargo xtask services`");
    let (users, tokens) = (MemoryUsers::new(), RedisTokens::beside(&store));
    account_endpoints_contract(users, tokens, MemoryKeys::new(), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_back_when_its_connection_was_killed() {
    let client = redis::Client::open(SERVER).unwrap();
    let connection = ConnectionManager::new(client.clone()).await;
    let connection = connection.expect("Redis answers: `cargo xtask services`");
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let prefix = Prefix::new("killed");
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

/// Whether something was told already.
async fn is_told(news: &RedisNews) -> bool {
    let mut heard = news.heard();
    std::future::poll_fn(|cx| Poll::Ready(heard.as_mut().poll(cx).is_ready())).await
}

/// Takes what was told already, and what comes with it.
async fn settle(news: &RedisNews) {
    for _ in 0..20 {
        while is_told(news).await {}
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for news, for less than what is promised.
async fn hears(news: &RedisNews) {
    let heard = tokio::time::timeout(Duration::from_secs(4), news.heard()).await;
    heard.expect("what was told is heard");
}

async fn news(name: &str) -> RedisNews {
    let prefix = format!("portcullis-test-{name}-{}", std::process::id());
    news_at(SERVER, &prefix).await
}

async fn news_at(url: &str, prefix: &str) -> RedisNews {
    let news = RedisNews::connect(url, prefix).await;
    news.expect("Redis answers: `cargo xtask services`")
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_news_for_whoever_asks_later() {
    let one = news("news").await;
    let (other, stranger) = (one.clone(), news("other-news").await);
    // They listen now, and what was told before they did may be heard.
    for each in [&one, &other, &stranger] {
        hears(each).await;
        settle(each).await;
    }
    for teller in [&one, &other, &one, &other] {
        // Nobody waits while it is told, and whoever did has gone.
        teller.tell().await;
        for each in [&one, &other] {
            hears(each).await;
            settle(each).await;
        }
    }
    // All who wait are told.
    tokio::join!(hears(&other), hears(&other), one.tell());
    assert!(!is_told(&stranger).await, "those of another prefix are not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_tells_again_when_a_connection_was_killed() {
    // Its connections are told by the number of their database.
    let prefix = format!("portcullis-test-killed-news-{}", std::process::id());
    let news = news_at("redis://127.0.0.1:6379/13", &prefix).await;
    let client = redis::Client::open(SERVER).unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let channel = format!("{{{prefix}}}:roles");
    let mut subscribers = async || {
        let count = redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel).clone();
        let (_, count): (String, i64) = count.query_async(&mut other).await.unwrap();
        count
    };
    assert_eq!(subscribers().await, 0, "nobody listens before somebody waits");
    hears(&news).await;
    let mut killer = client.get_multiplexed_async_connection().await.unwrap();
    for _ in 0..4 {
        assert_eq!(subscribers().await, 1);
        settle(&news).await;
        let list: String = redis::cmd("CLIENT")
            .arg("LIST")
            .arg("TYPE")
            .arg("PUBSUB")
            .query_async(&mut killer)
            .await
            .unwrap();
        for line in list.lines().filter(|line| line.contains(" db=13 ")) {
            let id = line.split([' ', '=']).nth(1).unwrap();
            let kill = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).clone();
            let _: i64 = kill.query_async(&mut killer).await.unwrap();
        }
        // Told while nobody listens; and heard once they do.
        news.tell().await;
        hears(&news).await;
    }
    drop(news);
    let gone = async {
        while subscribers().await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), gone)
        .await
        .expect("who is dropped listens no longer");
}

#[tokio::test]
async fn news_need_a_server_that_answers_and_a_prefix() {
    RedisNews::connect(SERVER, "").await.unwrap_err();
    RedisNews::connect("redis://127.0.0.1:1", "shop").await.unwrap_err();
    RedisNews::connect("no address", "shop").await.unwrap_err();
}
