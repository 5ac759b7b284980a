//! Many clients at once.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use portcullis_core::{Body, Identity};
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};

use crate::support::{Got, Origin, Site, asking, get, in_turn, of, response, spoken};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// An origin that answers when the gate is opened.
fn gated(gate: &Arc<Notify>, headers: &'static [(&'static str, &'static str)]) -> Origin {
    let gate = Arc::clone(gate);
    Origin::new(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            response(200, headers, "a book")
        }
    })
}

/// An origin that is asked once, and answers with this body.
fn saying_once(body: Body) -> Origin {
    let body = std::sync::Mutex::new(Some(body));
    Origin::new(move |_| {
        let body = body.lock().unwrap().take().expect("it is asked once");
        async move {
            let mut response = Response::new(body);
            response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
            response
        }
    })
}

/// Lets everything that can go on do so.
async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

#[tokio::test]
async fn fifty_cold_clients_are_one_request_to_the_origin() {
    let gate = Arc::new(Notify::new());
    let site = Site::new(gated(&gate, MINUTE));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let site = site.clone();
        clients.spawn(async move { site.get("/book").await });
    }
    settle().await;
    assert_eq!(site.origin.count(), 1);
    gate.notify_waiters();
    let all = clients.join_all().await;
    assert_eq!(all.len(), 50);
    assert!(all.iter().all(|got| got.body == "a book" && got.status == StatusCode::OK));
    let collapsed = all.iter().filter(|got| got.status_of_cache().contains("collapsed")).count();
    assert_eq!((site.origin.count(), collapsed), (1, 49));
    assert!(site.get("/book").await.is_hit());
}

#[tokio::test]
async fn who_comes_while_a_body_arrives_gets_what_is_there_at_once() {
    let (say, body) = spoken();
    let site = Site::new(saying_once(body));
    say.send(Ok(Bytes::from("first "))).unwrap();
    let mut first = site.send(get("/slow")).await.into_body();
    assert_eq!(next(&mut first).await, "first ");
    // Nothing more has come when the second client does.
    let mut second = site.send(get("/slow")).await.into_body();
    assert_eq!(next(&mut second).await, "first ");
    say.send(Ok(Bytes::from("second"))).unwrap();
    // Whoever comes first to it asks for it, here the one that came late.
    assert_eq!(next(&mut second).await, "second");
    // The first goes away in the middle: the other goes on.
    drop(first);
    drop(say);
    assert!(second.frame().await.is_none());
    assert_eq!(site.get("/slow").await.body, "first second");
    assert_eq!(site.origin.count(), 1);
}

async fn next(body: &mut Body) -> Bytes {
    body.frame()
        .await
        .expect("there is more")
        .expect("it is whole")
        .into_data()
        .expect("it is data")
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_waited_for() {
    let site = Site::new(Origin::new(|_| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        response(200, &[("cache-control", "no-store")], "yours alone")
    }));
    // It is known after the first answer.
    site.get("/mine").await;
    let begin = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let site = site.clone();
        clients.spawn(async move { site.get("/mine").await });
    }
    clients.join_all().await;
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    assert_eq!(site.origin.count(), 21);
    // Nobody knows it yet: those who waited ask for themselves as soon as the first head is there.
    let begin = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let site = site.clone();
        clients.spawn(async move { site.get("/others/mine").await });
    }
    clients.join_all().await;
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_is_stale_is_served_at_once_and_validated_once() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let site = Site::new(Origin::new(move |request| {
        let gate = Arc::clone(&opened);
        async move {
            let headers =
                [("cache-control", "max-age=10, stale-while-revalidate=60"), ("etag", "\"1\"")];
            if request.headers().contains_key("if-none-match") {
                gate.notified().await;
                return response(304, &headers, "");
            }
            response(200, &headers, "a book")
        }
    }));
    site.get("/book").await;
    site.time.advance(Duration::from_secs(20));
    for _ in 0..50 {
        let got = site.get("/book").await;
        assert!(got.is_hit() && got.body == "a book", "{got:?}");
        assert!(got.status_of_cache().contains("ttl=-10"), "{got:?}");
    }
    settle().await;
    assert_eq!(site.origin.count(), 2);
    gate.notify_waiters();
    settle().await;
    let got = site.get("/book").await;
    assert!(got.status_of_cache().contains("hit; ttl=10"), "{got:?}");
    assert_eq!(site.origin.count(), 2);
}

#[tokio::test]
async fn an_origin_that_fails_is_stood_in_for_as_long_as_it_allows() {
    let site = Site::new(in_turn(vec![
        || response(200, &[("cache-control", "max-age=10, stale-if-error=60")], "a book"),
        || response(503, &[], "sorry"),
    ]));
    site.get("/book").await;
    site.time.advance(Duration::from_secs(30));
    let got = site.get("/book").await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, &b"a book"[..]));
    assert!(got.status_of_cache().contains("detail=stale-if-error"), "{got:?}");
    site.time.advance(Duration::from_secs(60));
    assert_eq!(site.get("/book").await.status, 503);
}

#[tokio::test]
async fn when_the_one_that_asks_goes_away_another_asks() {
    let gate = Arc::new(Notify::new());
    let site = Site::new(gated(&gate, MINUTE));
    let leader = tokio::spawn({
        let site = site.clone();
        async move { site.get("/book").await }
    });
    settle().await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let site = site.clone();
        clients.spawn(async move { site.get("/book").await });
    }
    settle().await;
    assert_eq!(site.origin.count(), 1);
    leader.abort();
    settle().await;
    // One of the twenty, and not all of them.
    assert_eq!(site.origin.count(), 2);
    gate.notify_waiters();
    let all = clients.join_all().await;
    assert!(all.len() == 20 && all.iter().all(|got| got.body == "a book"));
    assert_eq!(site.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_an_origin_that_is_dead_than_it_takes() {
    let site = Site::new(Origin::new(|_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        response(504, &[], "nobody answers")
    }));
    let begin = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..1_000 {
        let site = site.clone();
        clients.spawn(async move { site.get("/book").await.status });
    }
    assert!(clients.join_all().await.iter().all(|status| *status == 504));
    assert!(begin.elapsed() <= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn clients_that_take_different_variants_do_not_get_each_others() {
    let site = Site::new(Origin::new(|request| async move {
        yield_now().await;
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        response(200, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")], &language)
    }));
    let mut clients = JoinSet::new();
    for at in 0..60 {
        let site = site.clone();
        clients.spawn(async move {
            let language = ["en", "de", "fr"][at % 3];
            let got = site.fetch(asking("GET", "/page", &[("accept-language", language)])).await;
            (language, got)
        });
    }
    for (language, got) in clients.join_all().await {
        assert_eq!(got.body, language);
    }
    assert_eq!(site.origin.count(), 3);
}

#[tokio::test]
async fn a_body_that_its_client_leaves_is_stored_nevertheless() {
    let (say, body) = spoken();
    let site = Site::new(saying_once(body));
    say.send(Ok(Bytes::from("first "))).unwrap();
    drop(site.send(get("/slow")).await);
    settle().await;
    say.send(Ok(Bytes::from("second"))).unwrap();
    drop(say);
    settle().await;
    let got = site.get("/slow").await;
    assert!(got.is_hit() && got.body == "first second", "{got:?}");
}

#[tokio::test]
async fn what_is_cut_off_is_never_stored() {
    for declared in [Some("12"), None] {
        let (say, body) = spoken();
        let body = std::sync::Mutex::new(Some(body));
        let site = Site::new(Origin::new(move |_| {
            let body = body.lock().unwrap().take();
            async move {
                let Some(body) = body else { return response(200, MINUTE, "whole") };
                let mut response = Response::new(body);
                response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
                if let Some(len) = declared {
                    response.headers_mut().insert("content-length", len.parse().unwrap());
                }
                response
            }
        }));
        say.send(Ok(Bytes::from("first "))).unwrap();
        if declared.is_none() {
            say.send(Err("the connection was reset".into())).unwrap();
        }
        drop(say);
        let cut = site.send(get("/book")).await.into_body().collect().await;
        assert!(cut.is_err(), "{declared:?}");
        let got = site.get("/book").await;
        assert_eq!((&*got.body, got.is_hit()), (&b"whole"[..], false), "{declared:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_goes_through_in_little_memory() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    const PIECE: usize = 64 << 10;
    struct Counted(Vec<u8>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(self.0.len(), SeqCst);
        }
    }
    struct Large(usize);
    impl http_body::Body for Large {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            if self.0 == 0 {
                return std::task::Poll::Ready(None);
            }
            self.0 -= PIECE;
            MOST.fetch_max(ALIVE.fetch_add(PIECE, SeqCst) + PIECE, SeqCst);
            let piece = Bytes::from_owner(Counted(vec![7; PIECE]));
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
        }
    }
    let site = Site::new(Origin::new(|_| async {
        let mut response = Response::new(Body::new(Large(1 << 30)));
        response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
        response
    }));
    // Two clients, of which one is slow.
    let mut fast = site.send(get("/large")).await.into_body();
    let mut slow = site.send(get("/large")).await.into_body();
    let (mut had, mut behind) = (0, 0);
    let mut is_slow_over = false;
    while had < 1 << 30 {
        tokio::select! {
            biased;
            frame = fast.frame() => had += frame.unwrap().unwrap().into_data().unwrap().len(),
            frame = slow.frame(), if !is_slow_over => match frame {
                Some(frame) => behind += frame.unwrap().into_data().unwrap().len(),
                None => is_slow_over = true,
            },
        }
    }
    assert_eq!(site.origin.count(), 1);
    assert!(behind > 0);
    let most = MOST.load(SeqCst);
    assert!(most < 24 << 20, "{most} bytes were held at once");
    drop(slow);
    drop(fast);
    assert_eq!(ALIVE.load(SeqCst), 0);
    // It is known to be too large: nobody waits for it.
    let got = Got::of(site.send(asking("HEAD", "/large", &[])).await).await;
    assert!(!got.is_hit());
}

#[tokio::test]
async fn what_everybody_shares_is_asked_about_once_for_callers_of_all_kinds() {
    for cache_control in ["public, max-age=10", "public, max-age=10, stale-while-revalidate=60"] {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let site = Site::new(Origin::new(move |request| {
            let gate = Arc::clone(&opened);
            async move {
                let headers = [("cache-control", cache_control), ("etag", "\"1\"")];
                if request.headers().contains_key("if-none-match") {
                    gate.notified().await;
                    return response(304, &headers, "");
                }
                response(200, &headers, "news")
            }
        }));
        site.get("/news").await;
        site.time.advance(Duration::from_secs(20));
        let mut clients = JoinSet::new();
        for number in 0..30 {
            let site = site.clone();
            clients.spawn(async move {
                let cookie = format!("session={number}");
                let who = Identity::builder("keys", format!("caller {number}")).build();
                match number % 3 {
                    0 => site.fetch(asking("GET", "/news", &[("cookie", &cookie)])).await,
                    1 => site.fetch(of(&who, &site.time, get("/news"))).await,
                    _ => site.get("/news").await,
                }
            });
        }
        settle().await;
        assert_eq!(site.origin.count(), 2, "{cache_control}");
        gate.notify_waiters();
        assert!(clients.join_all().await.iter().all(|got| got.body == "news"));
        settle().await;
        assert_eq!(site.origin.count(), 2, "{cache_control}");
    }
}
