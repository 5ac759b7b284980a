//! What a client may take: bytes, time, connections. The time limits are as short as the tests can bear.
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use portcullis_core::{Body, BodyLimit};
use portcullis_server::Limits;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::h2::{PREFACE, SETTINGS, frame};
use crate::support::{
    Answer, End, PATIENCE, echo, get, local, ordinary, pieces, post, start, start_with, text, until,
};

const SECOND: Duration = Duration::from_secs(1);

/// It came not before `at_least`, give or take the coarse clock, and soon after.
fn assert_about(since: Instant, at_least: Duration) {
    let took = since.elapsed();
    assert!(took + Duration::from_millis(400) >= at_least, "{took:?}");
    assert!(took < at_least + Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_client_that_does_not_ask_is_told_to_come_again() {
    let server = start(local().limits(Limits::default().header_time(SECOND)));
    for (bytes, what) in [
        ("GET / HTTP/1.1\r\nhos", "half a head"),
        ("P", "what may become HTTP/2"),
        ("\r\n", "an empty line"),
    ] {
        let mut client = server.connect().await;
        let since = Instant::now();
        client.send(bytes).await;
        match client.next().await {
            Some(answer) => {
                answer.assert_problem(408, "request-timeout");
                assert_eq!(answer.header("connection"), Some("close"), "{what}");
            }
            // Nobody knows yet which protocol it is to be.
            None => assert_eq!(bytes, "P"),
        }
        client.assert_closed().await;
        assert_about(since, SECOND);
    }
    let mut silent = server.connect().await;
    let since = Instant::now();
    silent.assert_closed().await;
    assert_about(since, SECOND);
    server.assert_well().await;
}

#[tokio::test]
async fn a_head_that_drips_has_no_longer_than_one_that_stalls() {
    let server = start(local().limits(Limits::default().header_time(SECOND)));
    let mut client = server.connect().await;
    let since = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx: ").await;
    while since.elapsed() < 3 * SECOND {
        client.try_send("x").await;
        if let (_, End::Closed) = client.rest(Duration::from_millis(50)).await {
            break;
        }
    }
    assert!(since.elapsed() < 3 * SECOND, "a byte now and then buys no time");
}

#[tokio::test]
async fn later_requests_have_the_same_time_from_their_first_byte() {
    let server = start(local().limits(Limits::default().header_time(SECOND)));
    let mut client = server.connect().await;
    client.send(get("/")).await;
    assert_eq!(client.answer().await.status, 200);
    // Between requests the idle time counts, which is longer.
    assert_eq!(client.rest(Duration::from_millis(1_500)).await, (Vec::new(), End::Open));
    let since = Instant::now();
    client.send("GET / HTT").await;
    client.answer().await.assert_problem(408, "request-timeout");
    client.assert_closed().await;
    assert_about(since, SECOND);
}

#[tokio::test]
async fn an_idle_connection_closes_without_a_word() {
    let server = start(local().limits(Limits::default().idle_time(SECOND)));
    let mut client = server.connect().await;
    client.send(get("/")).await;
    client.answer().await;
    let since = Instant::now();
    client.assert_closed().await;
    assert_about(since, SECOND);
}

#[tokio::test]
async fn a_parked_connection_wakes() {
    let server = start(local());
    let mut client = server.connect().await;
    for pieces in [vec![get("/")], vec![get("/")], vec!["GE".into(), get("/")[2..].into()]] {
        for piece in pieces {
            client.send(piece).await;
            // Far enough apart that they come as two.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert_eq!(client.answer().await.text(), "hello");
        // Long enough for it to let go of its buffers.
        assert_eq!(client.rest(Duration::from_millis(2_600)).await, (Vec::new(), End::Open));
    }
    client.send([get("/"), get("/")].concat()).await;
    assert_eq!(client.answer().await.text(), "hello");
    assert_eq!(client.answer().await.text(), "hello", "two that come at once");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let limits = Limits::default().body_idle(SECOND).byte_rate(1_000);
    let server = start(local().limits(limits));
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let mut stalled = server.connect().await;
    let since = Instant::now();
    stalled.send(format!("{head}hello")).await;
    stalled.answer().await.assert_problem(408, "body-too-slow");
    stalled.assert_closed().await;
    assert_about(since, SECOND);

    // A byte now and then: never idle, and below the rate.
    let mut dripping = server.connect().await;
    let since = Instant::now();
    dripping.send(head).await;
    let answer = loop {
        dripping.try_send("x").await;
        let (bytes, end) = dripping.rest(Duration::from_millis(100)).await;
        if let Some((answer, _)) = Answer::parse(&bytes, "POST", true) {
            break answer;
        }
        assert_eq!(end, End::Open);
        assert!(since.elapsed() < PATIENCE);
    };
    answer.assert_problem(408, "body-too-slow");
    server.assert_well().await;
}

#[tokio::test]
async fn what_came_fast_at_first_pays_for_no_trickle() {
    let limits = Limits::default().body_idle(SECOND).byte_rate(1_000);
    let server = start(local().limits(limits));
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await;
    client.send("x".repeat(500_000)).await;
    let since = Instant::now();
    let answer = loop {
        client.try_send("x").await;
        let (bytes, end) = client.rest(Duration::from_millis(100)).await;
        if let Some((answer, _)) = Answer::parse(&bytes, "POST", true) {
            break answer;
        }
        assert_eq!(end, End::Open);
        assert!(since.elapsed() < PATIENCE, "half a megabyte would pay for 500 s");
    };
    answer.assert_problem(408, "body-too-slow");
}

#[tokio::test]
async fn line_ends_between_two_requests_begin_none() {
    let limits = Limits::default().header_time(SECOND).idle_time(6 * SECOND);
    let server = start(local().limits(limits));
    let mut client = server.connect().await;
    client.send([&post("/echo", "hello"), "\r\n"].concat()).await;
    assert_eq!(client.answer().await.text(), "hello");
    assert_eq!(client.rest(2 * SECOND).await, (Vec::new(), End::Open), "no answer to nothing");
    client.send("\r\n").await;
    assert_eq!(client.rest(2 * SECOND).await, (Vec::new(), End::Open), "nor later");
    client.send(get("/")).await;
    assert_eq!(client.answer().await.text(), "hello");
    client.assert_closed().await;
}

fn chunked(body: &str) -> String {
    let len = body.len();
    format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{len:x}\r\n{body}\r\n0\r\n\r\n"
    )
}

#[tokio::test]
async fn bytes_have_limits() {
    let limits = Limits::default().body_bytes(1_000).target_bytes(100).header_count(20);
    let server = start(local().limits(limits));
    let headers = |count: usize, value: usize| {
        let line = |at| format!("x-{at}: {}\r\n", "v".repeat(value));
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", (0..count).map(line).collect::<String>())
    };
    let (fits, large) = ("b".repeat(1_000), "b".repeat(1_001));
    for (request, want, what) in [
        (post("/echo", &fits), None, "an announced body of the limit"),
        (post("/echo", &large), Some((413, "body-too-large")), "one byte more"),
        (chunked(&fits), None, "a chunked body of the limit"),
        (chunked(&large), Some((413, "body-too-large")), "one byte more"),
        (get(&format!("/{}", "a".repeat(100))), Some((414, "target-too-long")), "a long target"),
        (
            get(&format!("/{}", "a".repeat(70_000))),
            Some((414, "target-too-long")),
            "one that hyper refuses",
        ),
        (headers(19, 1), None, "as many headers as there may be"),
        (headers(20, 1), Some((431, "headers-too-large")), "one more"),
        (headers(10, 2_000), Some((431, "headers-too-large")), "20 kB of headers"),
    ] {
        let answer = server.ask(&request).await;
        match want {
            None => assert_eq!(answer.status, 200, "{what}"),
            Some((status, slug)) => answer.assert_problem(status, slug),
        }
    }
    server.assert_well().await;
}

#[tokio::test]
async fn a_route_may_raise_the_body_limit_before_it_reads() {
    let server = start_with(
        local().limits(Limits::default().body_bytes(10)),
        |request: Request<Body>| async {
            if request.uri().path() == "/upload" {
                request.extensions().get::<BodyLimit>().unwrap().set(100);
            }
            Ok(echo(request).await)
        },
    );
    let fifty = "b".repeat(50);
    for (path, status) in [("/", 413), ("/upload", 200), ("/", 413)] {
        assert_eq!(server.ask(post(path, &fifty)).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn of_too_many_connections_an_idle_one_makes_room() {
    let server = start_with(
        local().limits(Limits::default().connections(2)),
        |request: Request<Body>| async {
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            ordinary(request).await
        },
    );
    let mut first = server.connect().await;
    first.send(get("/")).await;
    first.answer().await;
    let mut second = server.connect().await;
    second.send(get("/never")).await;
    until(|| server.stats.accepted() == 2).await;
    let mut third = server.connect().await;
    third.send(get("/never")).await;
    first.assert_closed().await;
    until(|| server.stats.connections() == 2).await;
    // Now nobody is idle.
    let mut fourth = server.connect().await;
    fourth.try_send(get("/")).await;
    assert!(fourth.next().await.is_none());
    assert_eq!(server.stats.accepted(), 3);
    drop((second, third));
    until(|| server.stats.connections() == 0).await;
    server.assert_well().await;
}

#[tokio::test]
async fn idle_http_2_connections_that_do_not_listen_make_room_too() {
    let server = start(local().limits(Limits::default().connections(2)));
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let mut client = server.connect().await;
        // It says hello, and no more: not even that it heard a goodbye.
        client.try_send(PREFACE).await;
        client.try_send(frame(SETTINGS, 0, 0, &[])).await;
        deaf.push(client);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(server.stats.connections() <= 3, "two, and one on its way out");
    }
    for left in [2, 1] {
        until(|| server.stats.connections() <= left).await;
        server.assert_well().await;
    }
}

#[tokio::test]
async fn one_address_has_its_share() {
    let server = start(local().limits(Limits::default().connections_per_address(2)));
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.send(get("/")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut third = server.connect().await;
    third.try_send(get("/")).await;
    assert!(third.next().await.is_none(), "closed, and no idle one makes room for it");
    drop(clients);
    until(|| server.stats.connections() == 0).await;
    server.assert_well().await;
}

#[tokio::test]
async fn addresses_are_let_in_or_not() {
    for (server, want) in [
        (local().allow(["127.0.0.0/8".parse().unwrap()]), true),
        (local().allow(["10.0.0.0/8".parse().unwrap()]), false),
        (local().deny(["127.0.0.1/32".parse().unwrap()]), false),
    ] {
        let server = start(server);
        let mut client = server.connect().await;
        client.try_send(get("/")).await;
        assert_eq!(client.next().await.is_some(), want);
    }
}

/// An answer of so many mebibytes.
fn large(mebibytes: usize) -> Response<Body> {
    let piece = Bytes::from(vec![b'0'; 64 << 10]);
    Response::new(pieces(std::iter::repeat_n(piece, mebibytes * 16)))
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits::default().write_idle(SECOND);
    let server = start_with(local().limits(limits), |request: Request<Body>| async move {
        Ok(if request.uri().path() == "/large" { large(64) } else { text("hello") })
    });
    let mut client = server.connect().await;
    client.send(get("/large")).await;
    let since = Instant::now();
    until(|| server.stats.connections() == 1).await;
    until(|| server.stats.connections() == 0).await;
    assert_about(since, SECOND);
    drop(client);

    // One that reads slowly is left alone, as long as it makes the rate.
    let mut slow = server.connect().await;
    slow.send(get("/large")).await;
    let (since, mut bytes) = (Instant::now(), vec![0; 256 << 10]);
    while since.elapsed() < 3 * SECOND {
        let read = slow.stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "it is still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.assert_well().await;
}
