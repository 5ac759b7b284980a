//! Gateways with memory before one Redis: a purge is heard by all of them within a second, and they go on without it.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use portcullis_core::Clock;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cache::{is_hit, route, until_hit, upstream};
use crate::limit_stores::Redis;
use crate::reload::Gateway;
use crate::support::{Backend, Client, Reply};

/// How many things there are, each with a tag of its own.
const BOOKS: usize = 16;
/// How many clients each gateway has, and how long each of them rests.
const CLIENTS: usize = 3;
const REST: Duration = Duration::from_millis(2);
/// How often something is purged: each book once in more than the second that is promised, so that one purge does not stand in for another.
const PURGES: Duration = Duration::from_millis(100);
/// From then on nobody is sent what was purged.
const PROMISE: Duration = Duration::from_secs(1);

fn now() -> Instant {
    Clock::system().now()
}

fn path(book: usize) -> String {
    format!("/books/{book}")
}

/// An origin whose books have versions.
struct Origin {
    backend: Backend,
    versions: Arc<[AtomicU64; BOOKS]>,
}

impl Origin {
    async fn start() -> Self {
        let versions: Arc<[AtomicU64; BOOKS]> = Arc::default();
        let known = Arc::clone(&versions);
        let backend = Backend::answering(move |request| {
            let book = request.split(['/', ' ']).nth(3).and_then(|book| book.parse().ok());
            let book: usize = book.unwrap_or_default();
            let version = known[book].load(SeqCst).to_string();
            Reply::Bytes(
                format!(
                    "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nsurrogate-key: books book-{book}\r\ncontent-length: {}\r\n\r\n{version}",
                    version.len()
                )
                .into_bytes(),
            )
        })
        .await;
        Self { backend, versions }
    }
    /// A new version of a book, and the old one is purged.
    async fn change(&self, gateway: &Gateway, book: usize) -> Purged {
        let version = self.versions[book].fetch_add(1, SeqCst) + 1;
        let (status, said) = gateway.tell("purge", &format!("{{\"tag\": \"book-{book}\"}}")).await;
        assert_eq!((status, said.as_str()), (200, "purged\n"));
        Purged { book, version, returned: now() }
    }
}

/// Versions before this one are old since then.
struct Purged {
    book: usize,
    version: u64,
    returned: Instant,
}

/// An answer that a client got.
struct Seen {
    gateway: usize,
    book: usize,
    version: u64,
    is_hit: bool,
    began: Instant,
    came: Instant,
}

/// Clients of all gateways, at work until they are stopped. Each of them wants a 200 each time.
struct Load {
    is_over: Arc<AtomicBool>,
    clients: JoinSet<Vec<Seen>>,
}

impl Load {
    async fn start(gateways: &[Gateway]) -> Self {
        let mut load = Self { is_over: Arc::default(), clients: JoinSet::new() };
        for (number, gateway) in gateways.iter().enumerate() {
            for at in 0..CLIENTS {
                let client = gateway.serving.connect().await;
                let is_over = Arc::clone(&load.is_over);
                load.clients.spawn(keep_asking(client, number, at * BOOKS / CLIENTS, is_over));
            }
        }
        load
    }
    async fn stop(self) -> Vec<Seen> {
        self.is_over.store(true, SeqCst);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

async fn keep_asking(
    mut client: Client,
    gateway: usize,
    first: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for book in (0..BOOKS).cycle().skip(first) {
        if is_over.load(SeqCst) {
            break;
        }
        let began = now();
        client.send(format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", path(book))).await;
        let answer = client.answer().await.expect("an answer");
        let came = now();
        assert_eq!(answer.status, 200, "{}{}", answer.head, answer.text());
        let version = answer.text().parse().unwrap();
        seen.push(Seen { gateway, book, version, is_hit: is_hit(&answer), began, came });
        sleep(REST).await;
    }
    seen
}

async fn gateways(redis: &Redis, origin: &Origin) -> [Gateway; 2] {
    let text = format!(
        "{}[cache]\nstore = [\"memory\", \"shared\"]\n{}{}",
        redis.config(),
        upstream(origin.backend.address),
        route("/{*rest}", "\"public\"", "true")
    );
    [Gateway::start(&text).await, Gateway::start(&text).await]
}

/// How long after a purge had returned this gateway still sent something older, at most. Who asked later than promised never got any.
fn longest(gateway: usize, seen: &[Seen], purges: &[Purged]) -> Duration {
    let mut longest = Duration::ZERO;
    for seen in seen.iter().filter(|seen| seen.gateway == gateway) {
        let older = purges
            .iter()
            .filter(|purged| purged.book == seen.book && purged.version > seen.version);
        for purged in older {
            let late = seen.began.saturating_duration_since(purged.returned);
            assert!(
                late <= PROMISE,
                "gateway {gateway} has version {} of {}, and {} was there {late:?} before",
                seen.version,
                seen.book,
                purged.version
            );
            longest = longest.max(seen.came.saturating_duration_since(purged.returned));
        }
    }
    longest
}

#[tokio::test]
async fn nothing_older_is_sent_a_second_after_a_purge_whether_or_not_it_is_heard() {
    let Some(redis) = Redis::start().await else { return };
    for is_heard in [true, false] {
        let origin = Origin::start().await;
        let gateways = gateways(&redis, &origin).await;
        origin.change(&gateways[0], 0).await;
        let load = Load::start(&gateways).await;
        let purging = async {
            sleep(Duration::from_millis(500)).await;
            let mut purges = Vec::new();
            for book in (0..BOOKS).cycle().take(3 * BOOKS) {
                purges.push(origin.change(&gateways[0], book).await);
                sleep(PURGES).await;
            }
            sleep(PROMISE + PROMISE / 2).await;
            purges
        };
        let mut cut = 0;
        let cutting = async {
            loop {
                if !is_heard {
                    let said = redis.tell("CLIENT KILL TYPE pubsub").await;
                    cut += said.trim_start_matches(':').parse::<usize>().unwrap();
                }
                sleep(Duration::from_millis(170)).await;
            }
        };
        let purges = tokio::select! {
            purges = purging => purges,
            () = cutting => unreachable!("it goes on"),
        };
        assert!(is_heard || cut > BOOKS, "connections that were cut: {cut}");
        let seen = load.stop().await;
        let hits = seen.iter().filter(|seen| seen.is_hit).count();
        // Otherwise there is nothing that could be old.
        assert!(hits > seen.len() / 2, "{hits} of {} are hits", seen.len());
        let [own, other] = [0, 1].map(|gateway| longest(gateway, &seen, &purges));
        eprintln!(
            "is heard: {is_heard}; purges: {}; cut: {cut}; answers: {}; hits: {hits}; older for: {own:?} in the gateway that was told, {other:?} in the other",
            purges.len(),
            seen.len(),
        );
    }
}

/// How long answers took that came in some span of time: the longest, and all but one in a hundred.
fn took(seen: &[Seen], from: Instant, until: Instant) -> [Duration; 2] {
    let within = seen.iter().filter(|seen| seen.came >= from && seen.began <= until);
    let mut took: Vec<_> = within.map(|seen| seen.came - seen.began).collect();
    took.sort_unstable();
    assert!(took.len() > 100, "{} answers", took.len());
    [took[took.len() - 1], took[took.len() * 99 / 100]]
}

#[tokio::test]
async fn without_its_redis_a_gateway_asks_the_origin_and_owns_up_to_what_is_not_purged() {
    let Some(mut redis) = Redis::start().await else { return };
    let origin = Origin::start().await;
    let gateways = gateways(&redis, &origin).await;
    for gateway in &gateways {
        until_hit(&gateway.serving, &path(0), "").await;
    }
    let load = Load::start(&gateways).await;
    let mut spans = vec![("there", now())];
    sleep(Duration::from_secs(1)).await;
    for is_killed in [true, false] {
        spans.push((if is_killed { "killed" } else { "stopped" }, now()));
        if is_killed {
            redis.kill().await;
        } else {
            redis.signal("STOP").await;
        }
        for _ in 0..2 {
            sleep(Duration::from_secs(1)).await;
            for gateway in &gateways {
                origin.versions[0].fetch_add(1, SeqCst);
                let (status, said) = gateway.tell("purge", "{\"tag\": \"book-0\"}").await;
                assert!([409, 503].contains(&status), "{status} {said}");
                assert!(said.contains("the cache's store cannot answer"), "{said}");
            }
        }
        spans.push(("back", now()));
        if is_killed {
            redis.start_again().await;
        } else {
            redis.signal("CONT").await;
        }
        for gateway in &gateways {
            until_hit(&gateway.serving, &path(1), "").await;
        }
        let again = now() - spans.last().unwrap().1;
        eprintln!("found in the cache again after {again:?}");
        // It purges again, too.
        let purged = origin.change(&gateways[0], 1).await;
        sleep(PROMISE).await;
        for gateway in &gateways {
            let version = until_hit(&gateway.serving, &path(1), "").await.text();
            assert!(version.parse::<u64>().unwrap() >= purged.version, "{version}");
        }
    }
    spans.push(("over", now()));
    let seen = load.stop().await;
    for (at, (what, from)) in spans.iter().enumerate().take(spans.len() - 1) {
        let [longest, most] = took(&seen, *from, spans[at + 1].1);
        eprintln!("{what}: an answer takes {longest:?} at most, and 99 of 100 less than {most:?}");
        assert!(longest < PROMISE, "{what}: {longest:?}");
    }
}
