//! Attacks on the cache: what somebody hostile might try, and what has to come of it.
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use portcullis_cache::CacheExt;
use portcullis_cache::policy::Stored;
use portcullis_cache::store::{CacheStore, CacheStoreError, Found, Mark, Sizes, Write};
use portcullis_cache::{CacheLayer, Key, Memory, Purge};
use portcullis_core::{
    AuthState, Body, BoxError, Challenges, ConsumedCredentials, Context, Decision, Identity,
    Routes, Verdict, optional, public,
};
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::support::{Got, Origin, Site, asking, get, of, response, spoken};

async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// How an origin says the body of an answer.
type Say = tokio::sync::mpsc::UnboundedSender<Result<Bytes, BoxError>>;

/// An origin whose answers have their bodies said piece by piece.
fn speaking(headers: &'static [(&'static str, &'static str)]) -> (Origin, Arc<Mutex<Vec<Say>>>) {
    let senders: Arc<Mutex<Vec<Say>>> = Arc::default();
    let kept = Arc::clone(&senders);
    let origin = Origin::new(move |_| {
        let (say, body) = spoken();
        kept.lock().unwrap().push(say);
        async move {
            let (head, _) = response(200, headers, "").into_parts();
            Response::from_parts(head, body)
        }
    });
    (origin, senders)
}

// --- Poisoning -----------------------------------------------------------------------------------

/// Says what stands in a field that is no part of the key, and answers conditions with 304.
fn reflecting() -> Origin {
    Origin::new(|request| async move {
        let said =
            request.headers().get("x-prefix").and_then(|v| v.to_str().ok()).unwrap_or("good");
        let fields = [
            ("cache-control", "public, max-age=60"),
            ("etag", "\"v1\""),
            ("x-base", said),
            ("content-length", "4"),
        ];
        let is_asked = request.headers().contains_key("if-none-match");
        if is_asked {
            response(304, &fields[..3], "")
        } else if request.method() == "HEAD" {
            response(200, &fields, "")
        } else {
            response(200, &fields, "page")
        }
    })
}

#[tokio::test]
async fn an_odd_field_does_not_change_what_is_stored_by_way_of_a_304() {
    let site = Site::new(reflecting());
    site.get("/").await;
    let evil = [("x-prefix", "evil"), ("cache-control", "max-age=0")];
    site.time.advance(Duration::from_secs(1));
    site.fetch(asking("GET", "/", &evil)).await;
    assert_eq!(site.get("/").await.header("x-base"), "good");
}

#[tokio::test]
async fn an_odd_field_does_not_change_what_is_stored_by_way_of_a_head() {
    // Without conditions in its answers.
    let site = Site::new(Origin::new(|request| async move {
        let said =
            request.headers().get("x-prefix").and_then(|v| v.to_str().ok()).unwrap_or("good");
        let fields =
            [("cache-control", "public, max-age=60"), ("etag", "\"v1\""), ("x-base", said)];
        response(200, &fields, if request.method() == "HEAD" { "" } else { "page" })
    }));
    site.get("/").await;
    site.time.advance(Duration::from_secs(1));
    let evil = [("x-prefix", "evil"), ("cache-control", "max-age=0")];
    site.fetch(asking("HEAD", "/", &evil)).await;
    assert_eq!(site.get("/").await.header("x-base"), "good");
}

#[tokio::test]
async fn an_odd_field_does_not_get_into_the_cache_by_a_post() {
    let site = Site::new(Origin::new(|request| async move {
        let said =
            request.headers().get("x-prefix").and_then(|v| v.to_str().ok()).unwrap_or("good");
        let fields =
            [("cache-control", "public, max-age=60"), ("content-location", "/"), ("x-base", said)];
        response(200, &fields, "page")
    }));
    site.fetch(asking("POST", "/", &[("x-prefix", "evil")])).await;
    assert_eq!(site.get("/").await.header("x-base"), "good");
}

#[tokio::test]
async fn an_odd_field_does_not_get_into_the_cache_by_completing_a_part() {
    let site = Site::new(Origin::new(|request| async move {
        let said =
            request.headers().get("x-prefix").and_then(|v| v.to_str().ok()).unwrap_or("good");
        let range = request.headers().get("range").map(|v| v.to_str().unwrap().to_owned());
        let mut fields =
            vec![("cache-control", "public, max-age=60"), ("etag", "\"v1\""), ("x-base", said)];
        match range.as_deref() {
            Some("bytes=0-3") => {
                fields.push(("content-range", "bytes 0-3/8"));
                response(206, &fields, "page")
            }
            Some(_) => {
                fields.push(("content-range", "bytes 4-7/8"));
                response(206, &fields, "rest")
            }
            None => response(200, &fields, "pagerest"),
        }
    }));
    site.fetch(asking("GET", "/", &[("range", "bytes=0-3")])).await;
    site.fetch(asking("GET", "/", &[("x-prefix", "evil")])).await;
    assert_eq!(site.get("/").await.header("x-base"), "good");
}

/// Behind no edge, nobody has looked at these.
#[tokio::test]
async fn a_host_that_a_client_makes_up_is_not_stored() {
    for field in ["x-forwarded-host", "host", "x-forwarded-proto", "forwarded"] {
        let site = Site::new(Origin::new(move |request| async move {
            let said = request.headers().get(field).and_then(|v| v.to_str().ok()).unwrap_or("good");
            response(200, &[("cache-control", "max-age=60"), ("x-base", said)], "page")
        }));
        site.fetch(asking("GET", "/", &[(field, "evil")])).await;
        assert_eq!(site.get("/").await.header("x-base"), "good", "{field}");
    }
}

// --- One's bytes to another ----------------------------------------------------------------------

#[tokio::test]
async fn what_a_304_says_to_one_is_not_merged_into_what_all_get() {
    let site = Site::new(Origin::new(|request| async move {
        let who = request.headers().get("authorization").map(|_| "alice");
        if request.headers().contains_key("if-none-match") {
            // A 304 as many frameworks make them: only what a layer adds for the caller.
            return match who {
                Some(who) => response(304, &[("etag", "\"v1\""), ("x-user", who)], ""),
                None => response(304, &[("etag", "\"v1\"")], ""),
            };
        }
        response(200, &[("cache-control", "public, max-age=60"), ("etag", "\"v1\"")], "page")
    }));
    site.get("/").await;
    site.time.advance(Duration::from_secs(61));
    let alice = Identity::builder("shop", "alice").build();
    let request = asking("GET", "/", &[("authorization", "Bearer alice")]);
    site.fetch(of(&alice, &site.time, request)).await;
    assert_eq!(site.get("/").await.header("x-user"), "");
}

#[tokio::test]
async fn parts_of_two_variants_are_not_put_together() {
    // The tag is one of the template, as it should not be, and everything else says that they differ.
    let site = Site::new(Origin::new(|request| async move {
        let who = request.headers().get("accept-language").unwrap().to_str().unwrap().to_owned();
        let mut fields = vec![
            ("cache-control", "public, max-age=60"),
            ("etag", "\"v1\""),
            ("vary", "accept-language"),
        ];
        if request.headers().contains_key("range") {
            fields.push(("content-range", "bytes 0-3/8"));
            response(206, &fields, &who.repeat(2))
        } else {
            response(200, &fields, &who.repeat(4))
        }
    }));
    let de = [("accept-language", "de")];
    site.fetch(asking("GET", "/", &de)).await;
    site.fetch(asking("GET", "/", &[("accept-language", "fr"), ("range", "bytes=0-3")])).await;
    let got = site.fetch(asking("GET", "/", &[("accept-language", "fr")])).await;
    assert_eq!(got.body, "frfrfrfr");
}

#[tokio::test]
async fn a_cookie_that_authentication_does_not_know_is_somebodys() {
    let routes = Routes::builder().get("/", ()).rule(optional().cached()).build().unwrap();
    let route = routes.table().routes().next().unwrap();
    let site = Site::new(Origin::new(|request| async move {
        let cart = request.headers().get("cookie").and_then(|v| v.to_str().ok()).unwrap_or("none");
        response(200, &[("cache-control", "max-age=60")], cart)
    }));
    let ask = |cookie: &str| {
        let mut request = asking("GET", "/", &[("cookie", cookie)]);
        let context = Context::with_clock(&mut request, &site.time.clock());
        context.set_route(route.clone());
        context.set_auth(AuthState::Anonymous(Challenges::default()));
        context.set_consumed(ConsumedCredentials::none().cookie("session"));
        context.set_decision(Decision::new(
            Verdict::Allow,
            Some(route.clone()),
            route.access().requirement().clone(),
            "a test",
        ));
        request
    };
    site.fetch(ask("cart=mine")).await;
    assert_eq!(site.fetch(ask("cart=yours")).await.body, "cart=yours");
}

// --- Wrong HTTP ----------------------------------------------------------------------------------

#[tokio::test]
async fn who_joins_a_body_of_unknown_length_is_told_no_length() {
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let site = Site::new(origin);
    let first = site.send(get("/")).await;
    let second = site.send(get("/")).await;
    assert_eq!(site.origin.count(), 1);
    assert_eq!(second.headers().get("content-length"), None);
    drop(senders.lock().unwrap().pop());
    drop((first, second));
}

#[tokio::test]
async fn tags_are_taken_off_answers_to_every_method() {
    let site = Site::new(Origin::saying(
        &[("surrogate-key", "book-1 secret"), ("cache-control", "max-age=60")],
        "x",
    ));
    for method in ["GET", "HEAD", "POST", "PUT"] {
        let got = site.fetch(asking(method, "/", &[])).await;
        assert_eq!(got.header("surrogate-key"), "", "{method}");
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_moment_keeps_nothing_fresh_for_longer() {
    let site = Site::new(Origin::saying(&[("cache-control", "max-age=60")], "x"));
    let now = site.time.clock().wall();
    site.time.jump_wall(now + Duration::from_secs(86_400));
    site.get("/").await;
    site.time.jump_wall(now);
    site.time.advance(Duration::from_secs(3_600));
    assert!(!site.get("/").await.is_hit());
}

// --- Purges --------------------------------------------------------------------------------------

#[tokio::test]
async fn a_purge_of_a_url_reaches_what_no_vary_search_spells_otherwise() {
    let site = Site::new(Origin::saying(
        &[("cache-control", "max-age=60"), ("no-vary-search", "params=(\"utm\")")],
        "x",
    ));
    for url in ["/p?q=a%20b", "/p?utm=1", "/p?q"] {
        site.get(url).await;
        assert!(site.get(url).await.is_hit());
        let purge = Purge::url(format!("http://shop.example{url}"));
        site.layer.handle().purge(purge).await.unwrap();
        assert!(!site.get(url).await.is_hit(), "{url}");
    }
}

/// A store that purges slowly, and takes bodies by a writer where it is told to.
#[derive(Clone, Debug)]
struct Far {
    memory: Memory,
    purging: Arc<Notify>,
    is_slow: bool,
    writes: bool,
    written: Arc<AtomicUsize>,
}

impl Far {
    fn new() -> Self {
        let memory = Memory::new(64 << 20);
        Self {
            memory,
            purging: Arc::default(),
            is_slow: false,
            writes: false,
            written: Arc::default(),
        }
    }
}

#[async_trait]
impl CacheStore for Far {
    fn find_now(&self, key: &Key) -> Option<Found> {
        self.memory.find_now(key)
    }
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError> {
        self.memory.find(key).await
    }
    fn sizes(&self) -> Sizes {
        if self.writes { Sizes { whole: 0, streamed: 64 << 20 } } else { self.memory.sizes() }
    }
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        self.memory.put_now(key, head, body, mark);
    }
    fn writer(&self, _: &Key, _: &Arc<Stored>, _: Mark) -> Option<Box<dyn Write>> {
        self.writes.then(|| Box::new(Counting(Arc::clone(&self.written))) as Box<dyn Write>)
    }
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        self.memory.refresh(key, old, new, mark).await
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        self.memory.remove(key, old).await
    }
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError> {
        if self.is_slow {
            self.purging.notified().await;
        }
        self.memory.purge(purge).await
    }
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool {
        self.memory.purged_since(mark, key, head)
    }
}

struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl Write for Counting {
    async fn push(&mut self, data: Bytes) -> Result<(), CacheStoreError> {
        self.0.fetch_add(data.len(), SeqCst);
        Ok(())
    }
    async fn finish(self: Box<Self>) -> Result<(), CacheStoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_client_that_goes_away_after_a_change_leaves_nothing_old() {
    let far = Far { is_slow: true, ..Far::new() };
    let purging = Arc::clone(&far.purging);
    let site = Site::with(
        CacheLayer::new(Arc::new(far)),
        Origin::saying(&[("cache-control", "max-age=60")], "x"),
    );
    site.get("/").await;
    assert!(site.get("/").await.is_hit());
    let posting = site.clone();
    let post = tokio::spawn(async move { posting.fetch(asking("PUT", "/", &[])).await });
    settle().await;
    // The application has changed it; the client hangs up while the store is told.
    post.abort();
    _ = post.await;
    purging.notify_one();
    settle().await;
    assert!(!site.get("/").await.is_hit());
}

// --- Denial of service ---------------------------------------------------------------------------

#[tokio::test]
async fn what_a_vary_names_counts_as_memory() {
    let memory = Memory::new(64 << 20);
    let site = Site::with(
        CacheLayer::new(Arc::new(memory.clone())),
        Origin::saying(&[("cache-control", "max-age=60"), ("vary", "user-agent")], "x"),
    );
    let agent = "a".repeat(100_000);
    for number in 0..10 {
        site.fetch(asking("GET", &format!("/?{number}"), &[("user-agent", &agent)])).await;
    }
    let usage = memory.usage();
    assert_eq!(usage.entries, 10);
    assert!(usage.bytes > 1_000_000, "{usage:?}");
}

struct Tracked(Vec<u8>, Arc<AtomicBool>);
impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
impl Drop for Tracked {
    fn drop(&mut self) {
        self.1.store(true, SeqCst);
    }
}

#[tokio::test]
async fn a_stored_field_does_not_keep_the_buffer_it_was_read_into() {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let site = Site::new(Origin::new(move |_| {
        let buffer = Bytes::from_owner(Tracked(vec![b'a'; 1 << 20], Arc::clone(&gone)));
        async move {
            let mut response = response(200, &[("cache-control", "max-age=60")], "x");
            let value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
            response.headers_mut().insert("x-server", value);
            response
        }
    }));
    drop(site.get("/").await);
    assert!(site.get("/").await.is_hit());
    assert!(is_gone.load(SeqCst));
}

#[tokio::test]
async fn one_who_does_not_read_does_not_hold_up_the_others() {
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    // Bodies of up to a megabyte; this one is larger, and nobody knows beforehand.
    let site = Site::with(CacheLayer::in_memory(8 << 20), origin);
    let sleeper = site.send(get("/")).await;
    let reader = site.send(get("/")).await;
    assert_eq!(site.origin.count(), 1);
    let say = senders.lock().unwrap().pop().unwrap();
    for _ in 0..64 {
        say.send(Ok(Bytes::from(vec![b'a'; 64 << 10]))).unwrap();
    }
    drop(say);
    let got = timeout(Duration::from_secs(5), reader.into_body().collect()).await;
    let got = got.expect("it goes on").expect("it is whole");
    assert_eq!(got.to_bytes().len(), 64 * (64 << 10));
    drop(sleeper);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_given_up_after_a_minute() {
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let site = Site::new(origin);
    drop(site.send(get("/")).await);
    settle().await;
    let say = senders.lock().unwrap().pop().unwrap();
    assert!(!say.is_closed());
    sleep(Duration::from_secs(200)).await;
    settle().await;
    assert!(say.is_closed(), "it is read on and on");
}

#[tokio::test(start_paused = true)]
async fn what_only_a_store_reads_is_given_up_after_a_minute_too() {
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let far = Far { writes: true, ..Far::new() };
    let site = Site::with(CacheLayer::new(Arc::new(far)), origin);
    drop(site.send(get("/")).await);
    settle().await;
    let say = senders.lock().unwrap().pop().unwrap();
    sleep(Duration::from_secs(200)).await;
    settle().await;
    assert!(say.is_closed(), "it is read on and on");
}

#[tokio::test(start_paused = true)]
async fn what_only_a_store_reads_counts_as_background() {
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let far = Far { writes: true, ..Far::new() };
    let site = Site::with(CacheLayer::new(Arc::new(far)).background(4), origin);
    for number in 0..100 {
        drop(site.send(get(&format!("/?{number}"))).await);
    }
    settle().await;
    let going_on = senders.lock().unwrap().iter().filter(|say| !say.is_closed()).count();
    assert!(going_on <= 4, "{going_on} bodies are read for nobody");
}

struct Panicking(Arc<AtomicUsize>);
impl HttpBody for Panicking {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(self.0.fetch_add(1, SeqCst) > 5_000, "the origin's body is broken");
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn a_body_that_panics_is_not_asked_again() {
    let polled = Arc::new(AtomicUsize::new(0));
    let polls = Arc::clone(&polled);
    let site = Site::new(Origin::new(move |_| {
        let body = Body::new(Panicking(Arc::clone(&polls)));
        async move {
            let (head, _) = response(200, &[("cache-control", "max-age=60")], "").into_parts();
            Response::from_parts(head, body)
        }
    }));
    let body = site.send(get("/")).await.into_body();
    std::panic::set_hook(Box::new(|_| {}));
    _ = tokio::spawn(async move { body.collect().await.map(drop) }).await;
    for _ in 0..20 {
        settle().await;
    }
    _ = std::panic::take_hook();
    assert!(polled.load(SeqCst) <= 2, "{} times", polled.load(SeqCst));
}

/// How many requests reach an origin when ten clients ask at once for something that can be stored.
async fn stampede(site: &Site, path: &str) -> usize {
    let before = site.origin.count();
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let (site, path) = (site.clone(), path.to_owned());
        clients.spawn(async move { site.get(&path).await });
    }
    let all: Vec<Got> = clients.join_all().await;
    assert_eq!(all.len(), 10);
    site.origin.count() - before
}

fn slowly() -> Origin {
    Origin::new(|request| async move {
        sleep(Duration::from_millis(100)).await;
        let is_failing = request.headers().get("user-agent").is_some_and(|said| said == "fail");
        let body = if request.method() == "HEAD" { "" } else { "x" };
        response(if is_failing { 503 } else { 200 }, &[("cache-control", "max-age=60")], body)
    })
}

#[tokio::test(start_paused = true)]
async fn nobody_can_switch_off_that_others_wait_for_one() {
    type Attack = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
    let attacks: [Attack; 5] = [
        ("an odd field", "GET", &[("x-odd", "1")]),
        ("a HEAD", "HEAD", &[]),
        ("no-store", "GET", &[("cache-control", "no-store")]),
        ("somebody's cookie", "GET", &[("cookie", "sid=1")]),
        ("somebody's token", "GET", &[("authorization", "Bearer x")]),
    ];
    let mut wrong = Vec::new();
    for (name, method, fields) in attacks {
        let site = Site::new(slowly());
        site.fetch(asking(method, "/book", fields)).await;
        let asked = stampede(&site, "/book").await;
        if asked > 1 {
            wrong.push(format!("{name}: {asked}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_can_switch_it_off_for_good_below_a_path() {
    let site = Site::new(slowly());
    for number in 0..4 {
        site.fetch(asking("GET", &format!("/books/{number}"), &[("x-odd", "1")])).await;
    }
    // An hour later, and after others have stored things there.
    site.time.advance(Duration::from_secs(3_600));
    for number in 10..20 {
        site.get(&format!("/books/{number}")).await;
    }
    assert_eq!(stampede(&site, "/books/new").await, 1);
}

#[tokio::test]
async fn what_is_on_its_way_counts_as_memory() {
    // Two hundred clients each read nearly all of a body and then stop, in a cache of 8 MiB.
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let site = Site::with(CacheLayer::in_memory(8 << 20), origin);
    let held = Arc::new(AtomicUsize::new(0));
    let mut bodies = Vec::new();
    for number in 0..200 {
        let mut body = site.send(get(&format!("/?{number}"))).await.into_body();
        let say = senders.lock().unwrap().last().unwrap().clone();
        for _ in 0..15 {
            held.fetch_add(64 << 10, SeqCst);
            let piece = Held(vec![b'a'; 64 << 10], Arc::clone(&held));
            say.send(Ok(Bytes::from_owner(piece))).unwrap();
            drop(body.frame().await);
        }
        bodies.push(body);
    }
    let held = held.load(SeqCst) >> 20;
    assert!(held <= 64, "{held} MiB are held for bodies that nobody has stored");
}

struct Held(Vec<u8>, Arc<AtomicUsize>);
impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
impl Drop for Held {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), SeqCst);
    }
}

#[tokio::test]
async fn a_public_route_keeps_nothing_of_somebody_on_it() {
    let routes = Routes::builder().get("/", ()).rule(public().cached()).build().unwrap();
    let route = routes.table().routes().next().unwrap();
    let site = Site::new(Origin::new(|request| async move {
        let said = request.headers().get("cookie").and_then(|v| v.to_str().ok()).unwrap_or("none");
        response(200, &[("cache-control", "max-age=60")], said)
    }));
    let ask = |cookie: &str| {
        let mut request = asking("GET", "/", &[("cookie", cookie)]);
        let context = Context::with_clock(&mut request, &site.time.clock());
        context.set_route(route.clone());
        context.set_consumed(ConsumedCredentials::none().cookie("session"));
        request
    };
    site.fetch(ask("session=mine")).await;
    assert_eq!(site.fetch(ask("session=yours")).await.body, "session=yours");
}

#[tokio::test]
async fn a_head_that_is_refused_takes_nothing_out() {
    for status in [401, 405, 429] {
        let site = Site::new(Origin::new(move |request| async move {
            if request.method() == "HEAD" {
                response(status, &[], "")
            } else {
                response(200, &[("cache-control", "max-age=60"), ("etag", "\"v1\"")], "page")
            }
        }));
        site.get("/").await;
        site.fetch(asking("HEAD", "/", &[("cache-control", "no-cache")])).await;
        assert!(site.get("/").await.is_hit(), "{status}");
    }
}

/// How many times readers of one body are polled, for each piece and each reader.
async fn polls(readers: usize) -> usize {
    const PIECES: usize = 64;
    let (origin, senders) = speaking(&[("cache-control", "max-age=60")]);
    let site = Site::with(CacheLayer::in_memory(8 << 20), origin);
    let polled = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..readers {
        let mut body = site.send(get("/")).await.into_body();
        let polled = Arc::clone(&polled);
        clients.spawn(async move {
            loop {
                let next = std::future::poll_fn(|cx| {
                    polled.fetch_add(1, SeqCst);
                    Pin::new(&mut body).poll_frame(cx)
                });
                if next.await.is_none() {
                    break;
                }
                yield_now().await;
            }
        });
    }
    let say = senders.lock().unwrap().pop().unwrap();
    let saying = tokio::spawn(async move {
        for _ in 0..PIECES {
            say.send(Ok(Bytes::from(vec![b'a'; 64 << 10]))).unwrap();
            settle().await;
        }
    });
    clients.join_all().await;
    saying.await.unwrap();
    polled.load(SeqCst) / readers / PIECES
}

#[tokio::test]
async fn readers_of_a_large_body_do_not_wake_each_other_for_nothing() {
    let (few, many) = (polls(10).await, polls(200).await);
    assert!(many <= few * 3 + 3, "{few} polls each with 10 readers, {many} with 200");
}
