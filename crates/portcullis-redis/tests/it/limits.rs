//! Quotas on a real server.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Clock;
use portcullis_ratelimit::{QuotaStore, Rate, Take};
use portcullis_redis::RedisQuotas;
use portcullis_testkit::quota_store_contract;
use tokio::time::{sleep, timeout};

use crate::SERVER;
use crate::own_server::OwnServer;
use crate::prefix::Prefix;

const HOUR: Duration = Duration::from_secs(3_600);
/// How soon calls work again after the server does.
const BACK: Duration = Duration::from_secs(1);
/// What a layer waits for a store.
const SHORT: Duration = Duration::from_millis(40);

async fn quotas(prefix: &Prefix) -> RedisQuotas {
    let quotas = RedisQuotas::connect(SERVER, prefix).await;
    quotas.expect("Redis answers: `cargo xtask services`")
}

async fn quotas_of(server: &OwnServer) -> RedisQuotas {
    RedisQuotas::connect(&server.url(), "shop").await.unwrap()
}

fn take(quota: &str, who: u8, rate: Rate, units: u64) -> Take {
    Take::new(quota.into(), [who; 16], rate, units)
}

async fn may(quotas: &RedisQuotas, take: &Take) -> bool {
    let taken = quotas.take(std::slice::from_ref(take)).await.unwrap();
    taken[0].admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_counts_as_the_contract_says() {
    let prefix = Prefix::new("limits");
    quota_store_contract(Arc::new(quotas(&prefix).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_counts_by_key_as_the_contract_says() {
    let prefix = Prefix::new("limits-by-key");
    quota_store_contract(Arc::new(quotas(&prefix).await.by_key())).await;
}

#[tokio::test]
async fn quotas_need_a_server_that_answers_and_a_prefix() {
    for (url, prefix) in [(SERVER, ""), ("redis://127.0.0.1:1", "shop"), ("no address", "shop")] {
        RedisQuotas::connect(url, prefix).await.unwrap_err();
    }
    let client = redis::Client::open("redis://:secret@127.0.0.1:1").unwrap();
    let connection = redis::aio::ConnectionManager::new_lazy_with_config(
        client,
        redis::aio::ConnectionManagerConfig::new(),
    );
    let text = format!("{:?}", RedisQuotas::from_connection(connection.unwrap(), "shop"));
    assert!(text.contains("shop") && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_sees_keys_of_one_slot_in_a_call() {
    let server = OwnServer::start(&["--cluster-enabled", "yes"]).await;
    let _: () = server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let quotas = quotas_of(&server).await;
    let ready = async {
        while quotas.take(&[take("ready", 1, Rate::new(9, HOUR), 1)]).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), ready).await.expect("the cluster answers");
    let each = (0..20_u8)
        .map(|at| take(["login", "search"][usize::from(at % 2)], at / 2, Rate::new(9, HOUR), 1));
    let takes: Vec<Take> = each.collect();
    for (quotas, slots) in [(quotas.clone(), 1), (quotas.by_key(), 10)] {
        let _: () = server.ask(&["FLUSHALL"]).await;
        assert!(quotas.take(&takes).await.unwrap().iter().all(|taken| taken.admitted));
        let keys: Vec<String> = server.ask(&["KEYS", "*"]).await;
        assert_eq!(keys.len(), 20);
        let (mut found, mut of_tag) = (HashSet::new(), HashMap::new());
        for key in &keys {
            let slot: u64 = server.ask(&["CLUSTER", "KEYSLOT", key]).await;
            found.insert(slot);
            let tag = key.split(['{', '}']).nth(1).unwrap();
            assert_eq!(*of_tag.entry(tag).or_insert(slot), slot, "{key}");
        }
        assert_eq!(found.len(), slots, "{keys:?}");
        quota_store_contract(Arc::new(quotas)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_round_trip_and_two_where_the_script_was_lost() {
    let mut server = OwnServer::start(&[]).await;
    let quotas = quotas_of(&server).await;
    let takes: Vec<Take> = (0..5).map(|at| take("each", at, Rate::new(1_000, HOUR), 1)).collect();
    for count in 1..=100 {
        quotas.take(&takes).await.unwrap();
        assert_eq!(server.round_trips(0).await, count);
    }
    assert_eq!((server.calls("eval").await, server.calls("script|load").await), (0, 2));
    for (what, evals) in
        [(["SCRIPT", "FLUSH"].as_slice(), 1), (&["FLUSHALL"], 1), (&["SCRIPT", "FLUSH"], 2)]
    {
        let _: () = server.ask(what).await;
        for _ in 0..3 {
            assert!(quotas.take(&takes).await.unwrap()[4].admitted);
        }
        assert_eq!(server.calls("eval").await, evals, "{what:?}");
    }
    server.kill();
    quotas.take(&takes).await.unwrap_err();
    server.start_again().await;
    works_again(&quotas).await;
    assert_eq!(server.calls("eval").await, 1);
    quotas.settle(&takes[0], 5).await.unwrap();
    assert_eq!(server.calls("eval").await, 2);
}

/// A call as a layer makes it; those before may have failed.
async fn works_again(quotas: &RedisQuotas) {
    let one = [take("back", 1, Rate::new(1_000_000_000, HOUR), 1)];
    let back = async {
        while !matches!(timeout(SHORT, quotas.take(&one)).await, Ok(Ok(taken)) if taken[0].admitted)
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BACK, back).await.expect("it works again within a second");
}

/// Many calls that are dropped, or fail.
async fn in_vain(quotas: &RedisQuotas, calls: usize) {
    let calls = (0..calls).map(|_| {
        let quotas = quotas.clone();
        tokio::spawn(async move {
            let one = [take("vain", 1, Rate::new(1_000_000_000, HOUR), 1)];
            timeout(SHORT, quotas.take(&one)).await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(!matches!(call.await.unwrap(), Ok(Ok(_))), "it cannot know");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_work_again_when_the_server_was_killed() {
    let mut server = OwnServer::start(&[]).await;
    let quotas = quotas_of(&server).await;
    for _ in 0..3 {
        works_again(&quotas).await;
        server.kill();
        for _ in 0..8 {
            in_vain(&quotas, 50).await;
        }
        server.start_again().await;
        works_again(&quotas).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_work_again_when_the_server_was_stopped() {
    let server = OwnServer::start(&[]).await;
    let quotas = quotas_of(&server).await;
    for _ in 0..2 {
        works_again(&quotas).await;
        server.stop();
        for _ in 0..40 {
            in_vain(&quotas, 50).await;
        }
        // One that nobody drops.
        let one = [take("vain", 1, Rate::new(9, HOUR), 1)];
        timeout(Duration::from_secs(5), quotas.take(&one)).await.expect("it ends").unwrap_err();
        server.go_on();
        works_again(&quotas).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_when_its_time_has_passed_and_is_not_blocked_by_a_clock() {
    let server = OwnServer::start(&[]).await;
    let quotas = quotas_of(&server).await;
    let rate = Rate::new(10, Duration::from_millis(100));
    for who in 0..10 {
        assert!(may(&quotas, &take("goes", who, rate, 10)).await);
    }
    assert_eq!(server.ask::<u64>(&["DBSIZE"]).await, 10);
    let gone = async {
        while server.ask::<Vec<String>>(&["KEYS", "*"]).await != Vec::<String>::new() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("nothing is left behind");

    // As if the clock had been an hour ahead.
    let one = take("ahead", 1, rate, 1);
    assert!(may(&quotas, &one).await);
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await;
    let ahead = (server.micros().await + 3_600_000_000).to_string();
    let _: () = server.ask(&["SET", &keys[0], &ahead]).await;
    let (clock, mut early) = (Clock::system(), true);
    let since = clock.now();
    while !may(&quotas, &one).await {
        sleep(Duration::from_millis(2)).await;
        assert!(clock.now() - since < BACK, "it is blocked for two bursts at most");
        early = false;
    }
    assert!(!early, "it was not free at once");
    let left: i64 = server.ask(&["PTTL", &keys[0]]).await;
    assert!((0..=100).contains(&left), "{left}");
}
