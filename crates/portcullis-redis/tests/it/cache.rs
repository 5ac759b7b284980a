//! What is stored, found, and purged.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use portcullis_cache::store::{CacheStore, Mark, StoredBody};
use portcullis_cache::{Guarded, Key, Memory, Purge, TwoLevels};
use portcullis_redis::RedisCache;
use portcullis_testkit::cache_store_contract;
use sha2::{Digest, Sha256};

use crate::SERVER;
use crate::cached::{bodies, head, head_for, key, read, store, store_now};
use crate::own_server::OwnServer;
use crate::prefix::Prefix;

async fn cache(prefix: &str) -> RedisCache {
    RedisCache::connect(SERVER, prefix).await.expect("Redis answers: `cargo xtask services`")
}

async fn ask<T: redis::FromRedisValue>(words: &[&[u8]]) -> T {
    let client = redis::Client::open(SERVER).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

async fn keys(prefix: &str, rest: &str) -> Vec<String> {
    ask(&[b"KEYS", format!("{{{prefix}}}:cache:{rest}*").as_bytes()]).await
}

fn record(prefix: &str, key: &Key) -> String {
    use base64::Engine;
    let digest = Sha256::digest(key.as_bytes());
    let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    format!("{{{prefix}}}:cache:r:{name}")
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_of_a_cache() {
    let prefixes = Mutex::new(Vec::new());
    let empty = || {
        let mut prefixes = prefixes.lock().unwrap();
        let prefix = Prefix::new(&format!("cache-contract-{}", prefixes.len()));
        let cache = RedisCache::open(SERVER, &prefix).unwrap();
        prefixes.push(prefix);
        cache
    };
    cache_store_contract(async || empty()).await;
    cache_store_contract(async || empty().compressed()).await;
    cache_store_contract(async || Guarded::new(empty()).patience(Duration::from_secs(2))).await;
    cache_store_contract(async || {
        let cache = empty();
        let levels = TwoLevels::new(Memory::new(16 * 1024 * 1024), cache.clone(), cache);
        while !levels.is_current() {
            levels.find(&key("/nothing")).await.unwrap();
        }
        levels
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_found_in_one_round_trip() {
    let server = OwnServer::start(&[]).await;
    let cache = RedisCache::open(&server.url(), "shop").unwrap();
    let sizes = [0, 1, 64 * 1024, 256 * 1024, 256 * 1024 + 1, 1024 * 1024];
    for size in sizes {
        let (key, body) = (key(&format!("/{size}")), vec![7; size]);
        let mark = cache.find(&key).await.unwrap().mark;
        store(&cache, &key, &head(&[("etag", "\"7\"")]), body.clone(), mark).await.unwrap();
        let calls = server.calls("evalsha").await;
        let found = cache.find(&key).await.unwrap();
        assert_eq!(server.calls("evalsha").await, calls + 1);
        let [entry] = &*found.entries else { panic!("{size}: {found:?}") };
        assert_eq!(entry.head.headers()["etag"], "\"7\"");
        assert_eq!(matches!(entry.body, StoredBody::Here(_)), size <= 256 * 1024, "{size}");
        assert_eq!(read(entry).await.unwrap(), body, "{size}");
        assert!(!entry.is_stale);
    }
    // Each key goes by itself, after a day and an hour here, and the log after all of them.
    let all: Vec<String> = server.ask(&["KEYS", "*"]).await;
    assert!(all.len() > 2 * sizes.len(), "{all:?}");
    for key in all {
        let left: i64 = server.ask(&["TTL", &key]).await;
        let wanted = if key.ends_with(":log") { 31 * 86_400 } else { 90_000 };
        assert!((wanted - 60..=wanted).contains(&left), "{key}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_streams_in_and_out_with_bounded_memory() {
    const PIECE: usize = 100_000;
    let prefix = Prefix::new("cache-large");
    let cache = cache(&prefix).await;
    let (key, size) = (key("/film"), 64 * 1024 * 1024 / PIECE * PIECE);
    let data =
        Bytes::from((0..PIECE).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>());
    let mark = cache.find(&key).await.unwrap().mark;
    let before = peak();
    let mut writer = cache.writer(&key, &head(&[]), mark).unwrap();
    for _ in 0..size / PIECE {
        writer.push(data.clone()).await.unwrap();
        assert!(is_missing(&cache, &key).await);
    }
    writer.finish().await.unwrap();
    let found = cache.find(&key).await.unwrap();
    let StoredBody::Elsewhere(body) = &found.entries[0].body else { panic!("it is large") };
    assert_eq!(body.len(), size as u64);
    let mut at = 0;
    for piece in 0..body.len().div_ceil(body.piece()) {
        for byte in body.read(piece).await.unwrap() {
            assert_eq!(byte, data[at % PIECE]);
            at += 1;
        }
    }
    assert_eq!(at, size);
    let grown = peak() - before;
    println!("64 MiB in and out took {grown} KiB of memory");
    assert!(grown < 16 * 1024, "{grown} KiB");
}

async fn is_missing(cache: &RedisCache, key: &Key) -> bool {
    cache.find(key).await.unwrap().entries.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_completed_is_not_stored() {
    let prefix = Prefix::new("cache-truncated");
    let cache = cache(&prefix).await.largest(2 * 1024 * 1024);
    let key = key("/");
    store_now(&cache, &key, &[], "before").await;
    let mark = cache.find(&key).await.unwrap().mark;
    for (len, fits) in [(1024 * 1024, true), (2 * 1024 * 1024 + 1, false)] {
        let mut writer = cache.writer(&key, &head(&[]), mark).unwrap();
        let mut pushed = Ok(());
        for piece in vec![7; len].chunks(64 * 1024) {
            pushed = writer.push(piece.to_vec().into()).await;
        }
        assert_eq!(pushed.is_ok(), fits);
        assert!(keys(&prefix, "b:").await.len() > 2);
        drop(writer);
        assert_eq!(bodies(&cache.find(&key).await.unwrap()).await, [("before".into(), false)]);
        let gone = async {
            while keys(&prefix, "b:").await.len() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(2), gone).await.expect("its pieces are taken out");
    }
    // Neither is one of which the server has lost a piece.
    let mut writer = cache.writer(&key, &head(&[]), mark).unwrap();
    writer.push(vec![7; 1024 * 1024].into()).await.unwrap();
    let lost = keys(&prefix, "b:").await.into_iter().find(|key| key.ends_with(":1")).unwrap();
    let _: i64 = ask(&[b"DEL", lost.as_bytes()]).await;
    writer.finish().await.unwrap();
    assert_eq!(bodies(&cache.find(&key).await.unwrap()).await, [("before".into(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_never_mix() {
    let prefix = Prefix::new("cache-mixed");
    let cache = cache(&prefix).await;
    let key = key("/");
    let writers = (0..4_u8).map(|number| {
        let (cache, key) = (cache.clone(), key.clone());
        tokio::spawn(async move {
            for round in 0..20_u8 {
                let byte = number * 20 + round;
                // Some are in one piece, some in two.
                let body = vec![byte; 200_000 * (1 + usize::from(byte % 2))];
                let mark = cache.find(&key).await.unwrap().mark;
                let head = head(&[("etag", &format!("\"{byte}\""))]);
                store(&cache, &key, &head, body, mark).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut read_bodies = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let found = cache.find(&key).await.unwrap();
        let Some(entry) = found.entries.first() else { continue };
        let etag = entry.head.headers()["etag"].to_str().unwrap().trim_matches('"');
        // Also where another has taken its place meanwhile.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let byte: u8 = etag.parse().unwrap();
        let body = read(entry).await.unwrap();
        assert_eq!(body.len(), 200_000 * (1 + usize::from(byte % 2)));
        assert!(body.iter().all(|each| *each == byte), "{byte}");
        read_bodies += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(read_bodies > 2, "{read_bodies}");
    assert_eq!(cache.find(&key).await.unwrap().entries.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_a_miss() {
    let prefix = Prefix::new("cache-garbage");
    let cache = cache(&prefix).await;
    let key = key("/");
    let record = record(&prefix, &key);
    for garbage in [vec![], vec![7; 7], vec![0; 54], vec![0xff; 54], vec![0xff; 500], vec![7; 500]]
    {
        store_now(&cache, &key, &[], "good").await;
        let fields: Vec<Vec<u8>> = ask(&[b"HKEYS", record.as_bytes()]).await;
        let field = fields.iter().find(|field| field.starts_with(b"v")).unwrap();
        let _: i64 = ask(&[b"HSET", record.as_bytes(), field, &garbage]).await;
        assert!(is_missing(&cache, &key).await, "{garbage:?}");
    }
    // A head that is none, in a record that is one.
    store_now(&cache, &key, &[], "good").await;
    let all: Vec<Vec<u8>> = ask(&[b"HGETALL", record.as_bytes()]).await;
    let at = all.iter().position(|field| field.starts_with(b"v")).unwrap();
    let cut = &all[at + 1][..all[at + 1].len() - 3];
    let _: i64 = ask(&[b"HSET", record.as_bytes(), &all[at], cut]).await;
    assert!(is_missing(&cache, &key).await);
    // A body that is none.
    store_now(&cache, &key, &[], "good").await;
    for name in keys(&prefix, "b:").await {
        let _: String = ask(&[b"SET", name.as_bytes(), b"\x09garbage"]).await;
    }
    assert!(is_missing(&cache, &key).await);
    // What is no record, and one of another key.
    let _: String = ask(&[b"SET", record.as_bytes(), b"garbage"]).await;
    assert!(is_missing(&cache, &key).await);
    store_now(&cache, &key, &[], "good").await;
    let _: i64 = ask(&[b"HSET", record.as_bytes(), b"k", b"another"]).await;
    assert!(is_missing(&cache, &key).await);
    store_now(&cache, &key, &[], "good").await;
    assert_eq!(bodies(&cache.find(&key).await.unwrap()).await, [("good".into(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_take_out_what_they_say() {
    let prefix = Prefix::new("cache-purged");
    let cache = cache(&prefix).await;
    let other = RedisCache::open(SERVER, &prefix).unwrap();
    let fields = [("surrogate-key", "books fiction")];
    for (purge, hit) in [
        (Purge::url("http://shop.example/books/1"), true),
        (Purge::url("http://shop.example/books/"), false),
        (Purge::url("http://shop.example/books/11"), false),
        (Purge::prefix("http://shop.example/books/"), true),
        (Purge::prefix("http://shop.example/books/1"), true),
        (Purge::prefix("http://shop.example/books/11"), false),
        (Purge::tag("books"), true),
        (Purge::tag("fiction"), true),
        (Purge::tag("book"), false),
        (Purge::group("http://shop.example", "books"), false),
        (Purge::everything(), true),
    ] {
        for purge in [purge.clone(), purge.soft()] {
            let key = key("/books/1");
            store_now(&cache, &key, &fields, "it").await;
            let before = cache.find(&key).await.unwrap();
            assert_eq!(bodies(&before).await, [("it".into(), false)], "{purge:?}");
            assert!(!cache.purged_since(before.mark, &key, &head(&[])));
            cache.purge(&purge).await.unwrap();
            assert!(cache.purged_since(before.mark, &key, &head(&[])));
            let found = other.find(&key).await.unwrap();
            assert_eq!(found.mark, Mark(before.mark.0 + 1));
            let wanted = match (hit, purge.is_soft()) {
                (true, false) => vec![],
                (_, is_stale) => vec![("it".to_owned(), hit && is_stale)],
            };
            assert_eq!(bodies(&found).await, wanted, "{purge:?}");
            // What was asked for before and comes now was purged too.
            store(&other, &key, &head(&fields), "late", before.mark).await.unwrap();
            let found = other.find(&key).await.unwrap();
            let wanted = match (hit, purge.is_soft()) {
                (true, false) => vec![],
                (_, is_stale) => vec![("late".to_owned(), hit && is_stale)],
            };
            assert_eq!(bodies(&found).await, wanted, "{purge:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_purges_take_out_too_much_and_never_too_little() {
    let prefix = Prefix::new("cache-purges");
    let cache = cache(&prefix).await;
    let (one, other) = (key("/one"), key("/other"));
    store_now(&cache, &one, &[], "one").await;
    let mark = cache.find(&other).await.unwrap().mark;
    cache.purge(&Purge::prefix("http://shop.example/ot").soft()).await.unwrap();
    for number in 0..255 {
        cache.purge(&Purge::prefix(format!("http://elsewhere/{number}"))).await.unwrap();
    }
    assert_eq!(bodies(&cache.find(&one).await.unwrap()).await.len(), 1);
    store(&cache, &other, &head(&[]), "other", mark).await.unwrap();
    assert_eq!(bodies(&cache.find(&other).await.unwrap()).await, [("other".into(), true)]);
    // The first is forgotten, and what was asked for before it counts as purged.
    cache.purge(&Purge::prefix("http://elsewhere/255")).await.unwrap();
    assert!(is_missing(&cache, &other).await);
    assert!(is_missing(&cache, &one).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_its_purges_has_nothing() {
    let prefix = Prefix::new("cache-lost");
    let cache = cache(&prefix).await;
    let (key, log) = (key("/"), format!("{{{}}}:cache:log", &*prefix));
    store_now(&cache, &key, &[("surrogate-key", "a")], "it").await;
    let mark = cache.find(&key).await.unwrap().mark;
    // It throws the log away to make room.
    let _: i64 = ask(&[b"DEL", log.as_bytes()]).await;
    let found = cache.find(&key).await.unwrap();
    assert!(found.entries.is_empty() && found.mark > mark);
    // What is still on its way counts as purged.
    store(&cache, &key, &head(&[]), "late", mark).await.unwrap();
    assert!(is_missing(&cache, &key).await);
    // It goes back to an older state, where something was not purged yet.
    store_now(&cache, &key, &[("surrogate-key", "a")], "it").await;
    let old: Vec<u8> = ask(&[b"DUMP", log.as_bytes()]).await;
    cache.purge(&Purge::tag("a")).await.unwrap();
    let mark = cache.find(&key).await.unwrap().mark;
    store_now(&cache, &key, &[("surrogate-key", "a")], "new").await;
    let _: String = ask(&[b"RESTORE", log.as_bytes(), b"0", &old, b"REPLACE"]).await;
    let found = cache.find(&key).await.unwrap();
    assert!(found.entries.is_empty() && found.mark > mark, "{found:?} {mark:?}");
    store_now(&cache, &key, &[], "again").await;
    assert_eq!(bodies(&cache.find(&key).await.unwrap()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_many_variants_and_not_too_many() {
    let prefix = Prefix::new("cache-variants");
    let cache = cache(&prefix).await;
    let key = key("/");
    let mark = cache.find(&key).await.unwrap().mark;
    let variant = |number: u32| {
        head_for(&[("accept-language", &format!("l{number}"))], &[("vary", "accept-language")])
    };
    for number in 0..40 {
        store(&cache, &key, &variant(number), format!("{number}"), mark).await.unwrap();
    }
    let texts =
        |all: Vec<(String, bool)>| all.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let found = texts(bodies(&cache.find(&key).await.unwrap()).await);
    let newest: Vec<String> = (8..40).rev().map(|number: u32| number.to_string()).collect();
    assert_eq!(found, newest);
    // One takes the place of the one before; another is refreshed, and one is taken out.
    store(&cache, &key, &variant(20), "20 again", mark).await.unwrap();
    let all = cache.find(&key).await.unwrap();
    let of = |text: u32| {
        let at = newest.iter().position(|each| *each == text.to_string()).unwrap();
        // The one that was put again is before all others.
        Arc::clone(&all.entries[at + usize::from(text > 20)].head)
    };
    let (old, gone) = (of(19), of(18));
    let new =
        head_for(&[("accept-language", "l19")], &[("vary", "accept-language"), ("etag", "\"n\"")]);
    cache.refresh(&key, &old, Arc::clone(&new), mark).await.unwrap();
    cache.remove(&key, &gone).await.unwrap();
    // It is another one by now.
    cache.refresh(&key, &old, Arc::clone(&old), mark).await.unwrap();
    cache.remove(&key, &old).await.unwrap();
    let found = cache.find(&key).await.unwrap();
    assert_eq!(found.entries[0].head.headers().get("etag").unwrap(), "\"n\"");
    let found = texts(bodies(&found).await);
    assert_eq!(found[..3], ["19", "20 again", "39"]);
    assert_eq!(found.len(), 31);
    assert!(!found.contains(&"18".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_compressed_where_it_is_told_so() {
    let prefix = Prefix::new("cache-compressed");
    let plain = cache(&prefix).await;
    let compressed = plain.clone().compressed();
    let body =
        "Der Worte sind genug gewechselt, lasst mich auch endlich Taten sehn. ".repeat(10_000);
    for (cache, kind, encoding, is_small) in [
        (&compressed, "text/plain", "", true),
        (&compressed, "application/json", "", true),
        (&compressed, "text/plain", "br", false),
        (&compressed, "image/png", "", false),
        (&plain, "text/plain", "", false),
    ] {
        let key = key("/");
        let fields = [("content-type", kind), ("content-encoding", encoding)];
        let fields = if encoding.is_empty() { &fields[..1] } else { &fields[..] };
        cache.purge(&Purge::everything()).await.unwrap();
        for name in keys(&prefix, "b:").await {
            let _: i64 = ask(&[b"DEL", name.as_bytes()]).await;
        }
        let mark = cache.find(&key).await.unwrap().mark;
        store(cache, &key, &head(fields), body.clone(), mark).await.unwrap();
        let mut size = 0;
        for name in keys(&prefix, "b:").await {
            size += ask::<usize>(&[b"STRLEN", name.as_bytes()]).await;
        }
        assert_eq!(size < body.len() / 10, is_small, "{kind} {encoding}: {size}");
        // Whoever does not compress reads it too.
        let found = plain.find(&key).await.unwrap();
        assert_eq!(read(&found.entries[0]).await.unwrap(), body.as_bytes());
    }
}

#[tokio::test]
async fn a_cache_needs_an_address_and_a_prefix_and_a_server_later() {
    RedisCache::open("redis://127.0.0.1:1", "").unwrap_err();
    RedisCache::open("no address", "shop").unwrap_err();
    RedisCache::connect("redis://127.0.0.1:1", "shop").await.unwrap_err();
    let cache = RedisCache::open("redis://127.0.0.1:1", "shop").unwrap();
    cache.find(&key("/")).await.unwrap_err();
}
