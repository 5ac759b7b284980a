//! Counting together with other processes, in a store that may fail.
use std::time::Duration;

use portcullis_core::stage::PreLimit;
use portcullis_ratelimit::{
    Key, OnFailure, Quota, RateLimit, RateLimitLayer, SharedCounts, per_hour, per_second,
};
use portcullis_testkit::{FakeTime, TestClient};

use crate::store::{Mood, Store};
use crate::support::{Endpoint, client_of, peer};

type Client = TestClient<RateLimit<Endpoint>>;

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

async fn ask(client: &Client) -> u16 {
    client.get("/").peer(peer("192.0.2.1")).send().await.status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn processes_share_one_count_and_each_request_asks_once() {
    let time = FakeTime::new();
    let store = Store::new(&time);
    let shared = || SharedCounts::new(store.clone());
    let process = || {
        let counts = shared();
        let layer = RateLimitLayer::before_authentication()
            .everywhere(per_hour(10).shared(counts.clone()))
            .everywhere(per_second(100).and(per_hour(1_000)).by(Key::Everyone).shared(counts));
        client_of(&layer, &time)
    };
    let processes = [process(), process(), process()];
    for request in 0..10 {
        assert_eq!(ask(&processes[request % 3]).await, 200, "{request}");
    }
    assert_eq!(store.takes(), 10, "for all bounds of all quotas of a request");
    for process in &processes {
        assert_eq!(ask(process).await, 429);
    }
    assert_eq!(store.takes(), 13);
    // Each has heard it, and asks no more until there is room.
    for process in &processes {
        for _ in 0..50 {
            assert_eq!(ask(process).await, 429);
        }
    }
    assert_eq!(store.takes(), 13);
    time.advance(Duration::from_secs(360));
    assert_eq!(ask(&processes[0]).await, 200);
    assert_eq!(ask(&processes[1]).await, 429);
    assert_eq!(store.takes(), 15);
}

#[tokio::test(start_paused = true)]
async fn what_one_quota_refuses_costs_nothing_in_the_others() {
    let time = FakeTime::new();
    let (store, another) = (Store::new(&time), Store::new(&time));
    let counts = SharedCounts::new(store.clone());
    // In memory, in one store twice, and in another one that refuses.
    let layer = everywhere(per_hour(2))
        .everywhere(per_hour(2).shared(counts.clone()))
        .everywhere(per_hour(2).by(Key::Everyone).shared(counts))
        .everywhere(per_second(1).shared(SharedCounts::new(another)));
    let client = client_of(&layer, &time);
    for (wait, status) in [(0, 200), (0, 429), (0, 429), (1, 200), (1, 429)] {
        time.advance(Duration::from_secs(wait));
        assert_eq!(ask(&client).await, status);
        // What is given back to a store is given back beside the answer.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    assert!(store.settles() >= 2);
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_does_what_it_says() {
    for (what, on_failure, answers) in [
        ("a share", OnFailure::Local { replicas: 5 }, [200, 200, 429, 429]),
        ("alone", OnFailure::Local { replicas: 1 }, [200, 200, 200, 200]),
        ("open", OnFailure::Open, [200, 200, 200, 200]),
        ("closed", OnFailure::Closed, [429, 429, 429, 429]),
    ] {
        for leased in [false, true] {
            let time = FakeTime::new();
            let store = Store::new(&time);
            store.is(Mood::Fails);
            let counts = SharedCounts::new(store.clone()).on_failure(on_failure);
            let counts = if leased { counts.leased() } else { counts };
            let client = client_of(&everywhere(per_hour(10).shared(counts)), &time);
            for status in answers {
                let said = client.get("/").peer(peer("192.0.2.1")).send().await;
                assert_eq!(said.status(), status, "{what}, leased: {leased}");
                let field = said.header("ratelimit").unwrap();
                assert!(field.contains(";degraded"), "{what}: {field}");
                if on_failure == OnFailure::Closed {
                    said.assert_problem("temporary-reduced-capacity");
                    assert_eq!(said.header("retry-after"), Some("1"));
                }
            }
            // It is well again, and counts as before.
            store.is(Mood::Well);
            time.advance(Duration::from_secs(1));
            let said = client.get("/").peer(peer("192.0.2.1")).send().await;
            said.assert_status(200);
            assert!(!said.header("ratelimit").unwrap().contains("degraded"), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_three_failures_it_is_left_alone_and_tried_four_times_a_second() {
    let time = FakeTime::new();
    let store = Store::new(&time);
    store.is(Mood::Fails);
    let counts = SharedCounts::new(store.clone()).on_failure(OnFailure::Open);
    let client = client_of(&everywhere(per_hour(10).shared(counts)), &time);
    for _ in 0..10 {
        assert_eq!(ask(&client).await, 200);
    }
    assert_eq!(store.takes(), 3);
    for pause in 1..=4 {
        time.advance(Duration::from_millis(249));
        assert_eq!(ask(&client).await, 200);
        assert_eq!(store.takes(), 2 + pause, "too early");
        time.advance(Duration::from_millis(1));
        for _ in 0..10 {
            assert_eq!(ask(&client).await, 200);
        }
        assert_eq!(store.takes(), 3 + pause, "one tries, and the others go on without");
    }
    store.is(Mood::Well);
    time.advance(Duration::from_millis(250));
    for _ in 0..10 {
        assert_eq!(ask(&client).await, 200);
    }
    assert_eq!(store.takes(), 17, "it is asked by all again");
    assert_eq!(ask(&client).await, 429);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_patience_for_a_store_that_hangs() {
    for leased in [false, true] {
        let time = FakeTime::new();
        let store = Store::new(&time);
        store.is(Mood::Hangs);
        let counts = SharedCounts::new(store.clone()).on_failure(OnFailure::Open);
        let counts = if leased { counts.leased() } else { counts };
        let layer = everywhere(per_hour(1_000).shared(counts));
        let client = client_of(&layer, &time);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client).await })
            })
            .collect();
        tokio::task::yield_now().await;
        time.advance_with_tokio(Duration::from_millis(39)).await;
        assert!(tasks.iter().all(|task| !task.is_finished()), "leased: {leased}");
        time.advance_with_tokio(Duration::from_millis(1)).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(tasks.iter().all(tokio::task::JoinHandle::is_finished), "leased: {leased}");
        for task in tasks {
            assert_eq!(task.await.unwrap(), 200);
        }
        if leased {
            assert_eq!(store.most_under_way(), 1, "one asks for all");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_come_at_once_one_takes_the_lease() {
    let time = FakeTime::new();
    let store = Store::new(&time);
    store.is(Mood::Slow(Duration::from_millis(5)));
    let counts = SharedCounts::new(store.clone()).leased();
    let client = client_of(&everywhere(per_hour(1_000).shared(counts)), &time);
    let tasks: Vec<_> = (0..80)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client).await })
        })
        .collect();
    tokio::task::yield_now().await;
    time.advance_with_tokio(Duration::from_millis(6)).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!((store.takes(), store.most_under_way()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn with_leases_few_requests_ask_and_all_together_get_little_more_than_the_quota() {
    const PROCESSES: u64 = 4;
    let (rate, seconds) = (1_000_u64, 3_u64);
    for (what, each_millisecond) in [("as much as it gives", 1), ("four times as much", 4)] {
        let time = FakeTime::new();
        let store = Store::new(&time);
        let process = || {
            let counts = SharedCounts::new(store.clone()).leased();
            let layer = everywhere(per_second(rate).shared(counts));
            client_of(&layer, &time)
        };
        let processes: Vec<Client> = (0..PROCESSES).map(|_| process()).collect();
        let (mut asked, mut admitted) = (0_u64, 0_u64);
        for _ in 0..seconds * 1_000 {
            for _ in 0..each_millisecond {
                let process = &processes[usize::try_from(asked % PROCESSES).unwrap()];
                admitted += u64::from(ask(process).await == 200);
                asked += 1;
            }
            time.advance(Duration::from_millis(1));
        }
        let (most, lease) = (rate + rate * seconds, rate / 10);
        assert!(admitted <= most + PROCESSES * lease, "{what}: {admitted} of {most}");
        assert!(admitted >= (rate * seconds).min(asked) * 9 / 10, "{what}: {admitted} of {asked}");
        let calls = store.takes();
        assert!(calls * 50 < asked, "{what}: {calls} calls for {asked} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_looked_at_takes_nothing_of_a_lease() {
    let time = FakeTime::new();
    let store = Store::new(&time);
    let counts = SharedCounts::new(store.clone()).leased();
    let client = client_of(&everywhere(per_hour(40).refusals().shared(counts)), &time);
    for request in 0..200 {
        assert_eq!(ask(&client).await, 200, "{request}: answers of 200 cost nothing");
    }
}
