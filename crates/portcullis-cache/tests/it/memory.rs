//! The store in memory.
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use portcullis_cache::policy::{Moment, Stored};
use portcullis_cache::store::{CacheStore, Mark, StoredBody};
use portcullis_cache::{Key, Memory, Purge};
use portcullis_testkit::cache_store_contract;

const MIB: u64 = 1 << 20;

fn key(number: usize) -> Key {
    Key::for_url(&format!("https://shop.example/books/{number}"))
}

fn head() -> Arc<Stored> {
    Arc::new(Stored::value(Duration::from_secs(3_600), &["books"], Moment(0)))
}

fn body(len: usize) -> Arc<[Bytes]> {
    Arc::from([Bytes::from(vec![b'x'; len])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn does_what_every_store_does() {
    for _ in 0..20 {
        cache_store_contract(async || Memory::new(16 * MIB)).await;
    }
}

#[tokio::test]
async fn holds_to_its_bound() {
    let store = Memory::new(MIB);
    for number in 0..2_000 {
        store.put_now(&key(number), &head(), &body(4_096), Mark(0));
    }
    let usage = store.usage();
    // Each takes more than its body.
    assert!(usage.bytes <= MIB && usage.bytes > MIB / 2, "{usage:?}");
    assert!(usage.entries < MIB / 4_096 && usage.bytes > usage.entries * 4_800, "{usage:?}");
    assert_eq!(usage.entries + usage.evictions, 2_000);
    // What was purged takes no room.
    store.purge(&Purge::everything()).await.unwrap();
    let usage = store.usage();
    assert_eq!((usage.entries, usage.bytes), (0, 0));
}

#[test]
fn bodies_have_at_most_their_share() {
    for (store, whole) in [
        (Memory::new(MIB), MIB / 8),
        (Memory::new(1_024 * MIB), 16 * MIB),
        (Memory::new(MIB).largest(1_000), 1_000),
        (Memory::new(MIB).largest(2 * MIB), MIB / 2),
        (Memory::new(0), 0),
    ] {
        assert_eq!(store.sizes().whole, whole);
        assert_eq!(store.sizes().streamed, 0);
    }
}

#[test]
fn a_hit_shares_the_bytes() {
    let store = Memory::new(MIB);
    let (head, body) = (head(), body(1_000));
    store.put_now(&key(1), &head, &body, Mark(0));
    let found = store.find_now(&key(1)).unwrap();
    assert!(Arc::ptr_eq(&found.entries[0].head, &head));
    let StoredBody::Here(pieces) = &found.entries[0].body else { panic!("it is elsewhere") };
    assert!(Arc::ptr_eq(pieces, &body));
}

#[test]
fn nobody_sees_what_was_purged_before_they_asked() {
    const ROUNDS: u64 = 300;
    let store = Memory::new(16 * MIB);
    // What the origin would say now, and up to which of it a purge has returned.
    let (origin, purged, seen) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let read = &|number: usize| {
        while purged.load(SeqCst) < ROUNDS {
            let least = purged.load(SeqCst);
            let found = store.find_now(&key(number)).unwrap();
            let Some(entry) = found.entries.first() else {
                let made = Bytes::copy_from_slice(&origin.load(SeqCst).to_be_bytes());
                store.put_now(&key(number), &head(), &Arc::from([made]), found.mark);
                continue;
            };
            let StoredBody::Here(pieces) = &entry.body else { panic!("it is elsewhere") };
            let made = u64::from_be_bytes(pieces[0][..].try_into().unwrap());
            assert!(made >= least, "{made} is seen after all before {least} was purged");
            seen.fetch_add(1, SeqCst);
        }
    };
    thread::scope(|scope| {
        let readers = [0, 0, 1].map(|number| scope.spawn(move || read(number)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for round in 1..=ROUNDS {
            origin.store(round, SeqCst);
            let purge = match round % 3 {
                0 => Purge::tag("books"),
                1 => Purge::prefix("https://shop.example/"),
                _ => Purge::everything(),
            };
            runtime.block_on(store.purge(&purge)).unwrap();
            purged.store(round, SeqCst);
            // Somebody sees what was made since, or fails, before the next.
            let before = seen.load(SeqCst);
            let is_over = || readers.iter().any(thread::ScopedJoinHandle::is_finished);
            while seen.load(SeqCst) == before && !is_over() {
                thread::yield_now();
            }
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
