//! What a look-up allocates: nothing.
use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use portcullis_cache::policy::{Asked, Moment, Rules, Stored, Times};
use portcullis_cache::store::{CacheStore, Mark};
use portcullis_cache::{Key, Memory, Purge, Scope};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocations of a look-up, at least: every now and then one tidies up.
fn allocations(store: &Memory, key: &Key, entries: usize) -> usize {
    let counts = (0..20).map(|_| {
        let region = Region::new(ALLOCATOR);
        let found = store.find_now(key);
        let counted = region.change().allocations;
        assert_eq!(found.expect("memory answers at once").entries.len(), entries);
        counted
    });
    counts.min().expect("it was looked up")
}

// One test: the allocator counts for the whole process.
#[tokio::test]
async fn a_look_up_allocates_nothing() {
    let store = Memory::new(1 << 20);
    let (book, other) =
        (Key::for_url("https://shop.example/1"), Key::for_url("https://shop.example/2"));
    let head = Arc::new(Stored::value(Duration::from_secs(60), &["books"], Moment(0)));
    store.put_now(&book, &head, &Arc::from([Bytes::from(vec![0; 1_024])]), Mark(0));
    assert_eq!(allocations(&store, &book, 1), 0, "a hit");
    assert_eq!(allocations(&store, &other, 0), 0, "a miss");

    store.purge(&Purge::tag("other")).await.unwrap();
    let region = Region::new(ALLOCATOR);
    store.find_now(&book);
    assert_eq!(region.change().allocations, 0, "a hit that is compared with a purge");
    assert_eq!(allocations(&store, &book, 1), 0, "a hit after that");

    for len in [0, 1_024, 65_536] {
        let share = counted_share(len);
        assert!(
            (80..=105).contains(&share),
            "{share} % of what is counted for bodies of {len} bytes is there"
        );
    }
}

/// How many per cent of what the store counts are really there.
fn counted_share(len: usize) -> u64 {
    let store = Memory::new(1 << 28);
    let (asked, now) = (HeaderMap::new(), Moment(0));
    let region = Region::new(ALLOCATOR);
    for number in 0..1_000 {
        let mut response = Response::new(());
        for (name, value) in FIELDS {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_str(value).expect("it is a value"));
        }
        let asked = Asked { method: &Method::GET, headers: &asked, is_authenticated: false };
        let times = Times { requested: now, received: now };
        let head = response.into_parts().0;
        let head = Stored::new(&Rules::default(), Scope::Public, None, asked, &head, times)
            .expect("it may be stored");
        let body = Arc::from([Bytes::from(vec![0; len])]);
        store.put_now(
            &Key::for_url(&format!("https://shop.example/books/{number}")),
            &Arc::new(head),
            &body,
            Mark(0),
        );
    }
    let usage = store.usage();
    assert_eq!(usage.entries, 1_000);
    let change = region.change();
    let there = change.bytes_allocated - change.bytes_deallocated;
    there as u64 * 100 / usage.bytes
}

const FIELDS: [(&str, &str); 8] = [
    ("cache-control", "public, max-age=3600, stale-while-revalidate=60"),
    ("content-type", "application/json; charset=utf-8"),
    ("date", "Tue, 03 Nov 2026 10:00:00 GMT"),
    ("etag", "\"5f1c2b7e9a\""),
    ("last-modified", "Mon, 02 Nov 2026 10:00:00 GMT"),
    ("surrogate-key", "books austen"),
    ("x-request-id", "0191e3a4-5b7c-7d2e-8f90-123456789abc"),
    ("content-language", "en"),
];
