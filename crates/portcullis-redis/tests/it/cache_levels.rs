//! Memory before Redis, and what breaks.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_cache::store::CacheStore;
use portcullis_cache::{Guarded, Memory, Purge, TwoLevels};
use portcullis_core::Clock;
use portcullis_redis::RedisCache;
use tokio::time::{sleep, timeout};

use crate::cached::{bodies, head, key, read, store, store_now};
use crate::own_server::OwnServer;

type Levels = TwoLevels<Guarded<RedisCache>>;

/// A process of its own, as far as the cache knows.
fn replica(server: &OwnServer) -> Arc<Levels> {
    let cache = RedisCache::open(&server.url(), "shop").unwrap();
    let memory = Memory::new(16 * 1024 * 1024);
    Arc::new(TwoLevels::new(memory, Guarded::new(cache.clone()), cache))
}

/// Waits until it answers from memory.
async fn is_current(levels: &Levels) {
    let current = async {
        while !levels.is_current() {
            drop(levels.find(&key("/nothing")).await);
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), current).await.expect("it hears of purges");
}

/// An origin, and what was served of it.
struct Shop {
    clock: Clock,
    /// What the origin says now.
    version: AtomicU64,
    /// When which purge had returned, by the version it was for.
    purged: Mutex<Vec<(Instant, u64)>>,
    over: AtomicBool,
    from_memory: AtomicU64,
    asked: AtomicU64,
    fetched: AtomicU64,
    /// How long after a purge something older was served, at most.
    longest: Mutex<Duration>,
}

impl Shop {
    fn served(&self, at: Instant, version: u64) {
        let purged = self.purged.lock().unwrap();
        // The first purge that it should not have outlived.
        if let Some((returned, _)) = purged.iter().find(|(_, purged)| *purged > version) {
            let mut longest = self.longest.lock().unwrap();
            *longest = longest.max(at.saturating_duration_since(*returned));
        }
    }
    async fn visit(&self, levels: &Levels, number: u64) {
        let key = key(&format!("/books/{number}"));
        let at = self.clock.now();
        let now = levels.find_now(&key);
        self.from_memory.fetch_add(u64::from(now.is_some()), Ordering::Relaxed);
        let found = if let Some(found) = now {
            found
        } else {
            self.asked.fetch_add(1, Ordering::Relaxed);
            // A miss, which stores nothing.
            let Ok(found) = levels.find(&key).await else { return };
            found
        };
        if let Some(entry) = found.entries.first() {
            let body = String::from_utf8(read(entry).await.unwrap()).unwrap();
            self.served(at, body.parse().unwrap());
            return;
        }
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let version = self.version.load(Ordering::SeqCst);
        // An origin takes its time, and says what was so before.
        sleep(Duration::from_millis(3)).await;
        let head = head(&[("surrogate-key", "books")]);
        drop(store(levels, &key, &head, version.to_string(), found.mark).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_served_a_second_after_a_purge_whatever_is_killed() {
    let server = OwnServer::start(&[]).await;
    let replicas = [replica(&server), replica(&server)];
    for replica in &replicas {
        is_current(replica).await;
    }
    let clock = Clock::system();
    let shop = Arc::new(Shop {
        clock: clock.clone(),
        version: AtomicU64::new(1),
        purged: Mutex::default(),
        over: AtomicBool::new(false),
        from_memory: AtomicU64::new(0),
        asked: AtomicU64::new(0),
        fetched: AtomicU64::new(0),
        longest: Mutex::default(),
    });
    let visitors = replicas.iter().flat_map(|replica| [(replica, 0), (replica, 1)]);
    let visitors = visitors.map(|(replica, first)| {
        let (shop, replica) = (Arc::clone(&shop), Arc::clone(replica));
        tokio::spawn(async move {
            let mut number = first;
            while !shop.over.load(Ordering::Relaxed) {
                number = (number + 1) % 8;
                shop.visit(&replica, number).await;
                sleep(Duration::from_micros(500)).await;
            }
        })
    });
    let visitors: Vec<_> = visitors.collect();
    let mut longest_before = HashMap::new();
    for (what, rounds) in [("nothing", 12), ("listening", 12), ("all connections", 8)] {
        for round in 0..rounds {
            if what == "listening" {
                let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            } else if what == "all connections" {
                let _: i64 =
                    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
                let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            }
            let version = shop.version.fetch_add(1, Ordering::SeqCst) + 1;
            let purge = match round % 4 {
                0 => Purge::tag("books"),
                1 => Purge::prefix("http://shop.example/books/"),
                2 => Purge::everything(),
                _ => Purge::prefix("http://shop"),
            };
            // One that fails is tried again, as whoever purges would.
            while replicas[round % 2].purge(&purge).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
            shop.purged.lock().unwrap().push((clock.now(), version));
            sleep(Duration::from_millis(if round % 3 == 0 { 1_200 } else { 60 })).await;
        }
        let longest = std::mem::take(&mut *shop.longest.lock().unwrap());
        println!("{what} killed: nothing older than {longest:?}");
        longest_before.insert(what, longest);
    }
    shop.over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (from_memory, asked) = (count(&shop.from_memory), count(&shop.asked));
    let said =
        format!("{from_memory} from memory, {asked} asked, {} fetched", count(&shop.fetched));
    println!("{said}");
    assert!(from_memory > asked && count(&shop.fetched) > 32, "{said}");
    for (what, longest) in longest_before {
        assert!(longest < Duration::from_secs(1), "{what} killed: {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_are_heard_at_once_and_take_out_only_what_they_say() {
    let server = OwnServer::start(&[]).await;
    let [one, other] = [replica(&server), replica(&server)];
    let paths = ["/a", "/b"];
    for replica in [&one, &other] {
        is_current(replica).await;
    }
    for path in paths {
        store_now(&*one, &key(path), &[], "it").await;
        for replica in [&one, &other] {
            assert!(replica.find_now(&key(path)).is_none(), "nobody has asked for it");
            assert_eq!(bodies(&replica.find(&key(path)).await.unwrap()).await.len(), 1);
            let now = replica.find_now(&key(path)).expect("it has a copy");
            assert_eq!(bodies(&now).await, [("it".into(), false)]);
        }
    }
    let before = one.find_now(&key("/a")).unwrap().mark;
    one.purge(&Purge::url("http://shop.example/a")).await.unwrap();
    assert!(one.find_now(&key("/a")).is_none(), "whoever purges has heard of it");
    assert!(one.purged_since(before, &key("/a"), &head(&[])));
    assert!(!one.purged_since(before, &key("/b"), &head(&[])));
    let told = async {
        while other.find_now(&key("/a")).is_some() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_millis(200), told).await.expect("the other is told");
    for replica in [&one, &other] {
        assert!(replica.find_now(&key("/b")).is_some(), "the copy of the other URL is still there");
        assert!(replica.find(&key("/a")).await.unwrap().entries.is_empty());
    }
    // What was found before is not copied afterwards, nor stored.
    store(&*one, &key("/a"), &head(&[]), "late", before).await.unwrap();
    assert!(one.find(&key("/a")).await.unwrap().entries.is_empty());
    assert!(one.find_now(&key("/a")).is_none());
    // What is stored takes the place of one's own copy.
    let mark = one.find_now(&key("/b")).unwrap().mark;
    store(&*one, &key("/b"), &head(&[]), "new", mark).await.unwrap();
    assert_eq!(bodies(&one.find_now(&key("/b")).unwrap()).await, [("new".into(), false)]);
    one.purge(&Purge::everything().soft()).await.unwrap();
    assert!(one.find_now(&key("/b")).is_none(), "what is stale is asked for");
    assert_eq!(bodies(&one.find(&key("/b")).await.unwrap()).await, [("new".into(), true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_makes_the_cache_a_miss() {
    let mut server = OwnServer::start(&[]).await;
    let cache = RedisCache::open(&server.url(), "shop").unwrap();
    let clock = Clock::system();
    for levels in [false, true] {
        let store: Arc<dyn CacheStore> = if levels {
            let levels = replica(&server);
            is_current(&levels).await;
            levels
        } else {
            Arc::new(Guarded::new(cache.clone()))
        };
        let key = key("/");
        store_now(&*store, &key, &[], "it").await;
        assert_eq!(bodies(&store.find(&key).await.unwrap()).await.len(), 1);
        assert_eq!(store.find_now(&key).is_some(), levels);
        for kills in [false, true] {
            if kills {
                server.kill();
            } else {
                server.stop();
            }
            let mut waits = Vec::new();
            for _ in 0..20 {
                let began = clock.now();
                store.find(&key).await.unwrap_err();
                waits.push(clock.now() - began);
            }
            println!("{waits:?}");
            assert!(waits.iter().all(|wait| *wait < Duration::from_millis(100)), "{waits:?}");
            let quick = waits.iter().filter(|wait| **wait < Duration::from_millis(5)).count();
            assert!(quick >= 16, "it is left alone: {waits:?}");
            store.purge(&Purge::everything()).await.unwrap_err();
            sleep(Duration::from_millis(700)).await;
            assert!(store.find_now(&key).is_none(), "copies are not used meanwhile");
            if kills {
                server.start_again().await;
            } else {
                server.go_on();
            }
            let back = async {
                while store.find(&key).await.is_err() {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(2), back).await.expect("it comes back");
            store_now(&*store, &key, &[], "again").await;
            assert_eq!(bodies(&store.find(&key).await.unwrap()).await, [("again".into(), false)]);
        }
    }
}
