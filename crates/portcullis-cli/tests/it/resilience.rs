//! What the program makes of servers that fail, and how little it adds to their load.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::passing::{get, open, post};
use crate::support::{Backend, Reply, Serving, ok};

fn busy() -> Reply {
    Reply::Bytes(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy".to_vec())
}

/// In front of these, in turn.
async fn in_front_of(backends: &[&Backend], more: &str) -> Serving {
    let servers: Vec<_> =
        backends.iter().map(|backend| format!("http://{}", backend.address)).collect();
    let more = format!("balance = \"round_robin\"\noutliers = {{ failures = 0 }}\n{more}");
    open(&servers, &more, "to = \"b\"").await
}

fn put(body: &str) -> String {
    post("/it", body).replacen("POST", "PUT", 1)
}

#[tokio::test]
async fn what_failed_goes_to_another_server_where_that_does_no_harm() {
    for (what, reply) in [("503", busy as fn() -> Reply), ("closed", || Reply::Close)] {
        let bad = Backend::answering(move |_| reply()).await;
        let good = Backend::hello().await;
        let front = in_front_of(&[&bad, &good], "").await;
        for _ in 0..4 {
            assert_eq!(front.ask(get("/it")).await.status, 200, "{what}");
            assert_eq!(front.ask(put("hello")).await.status, 200, "{what}");
        }
        let puts = good.seen().into_iter().filter(|seen| seen.starts_with("PUT"));
        assert!(puts.into_iter().all(|seen| seen.ends_with("\r\n\r\nhello")), "whole, each time");
        // What may have been done is not done again.
        let (_, mut failed) = (bad.seen(), 0);
        for _ in 0..4 {
            failed += usize::from(front.ask(post("/it", "x")).await.status >= 500);
        }
        let asked = bad.seen().len();
        assert!(failed > 0 && failed == asked, "{what}: {failed} of {asked}");
    }
}

#[tokio::test]
async fn what_is_not_remembered_is_not_sent_again() {
    let bad = Backend::answering(|_| busy()).await;
    let front = in_front_of(&[&bad], "retries = 3").await;
    let large = format!(
        "PUT /it HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        70_000,
        "x".repeat(70_000)
    );
    assert_eq!(front.ask(large).await.text(), "busy");
    assert_eq!(bad.seen().len(), 1);
    assert_eq!(front.ask(put(&"x".repeat(70_000))).await.text(), "busy", "it is known beforehand");
    assert_eq!(bad.seen().len(), 1);
    assert_eq!(front.ask(put("small")).await.text(), "busy", "the last answer passes");
    assert_eq!(bad.seen().len(), 4, "three times more");
    let front = in_front_of(&[&bad], "retries = 0").await;
    assert_eq!(front.ask(get("/it")).await.text(), "busy");
    assert_eq!(bad.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_try() {
    let hung = Backend::answering(|_| Reply::Never).await;
    let good = Backend::hello().await;
    let front = in_front_of(&[&hung, &good], "try_timeout = \"200ms\"\ntimeout = \"5s\"").await;
    for _ in 0..4 {
        let since = Instant::now();
        assert_eq!(front.ask(get("/")).await.status, 200);
        assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    }
    assert!(hung.seen().len() >= 2);
}

#[tokio::test]
async fn retries_have_a_budget() {
    let bad = Backend::answering(|_| busy()).await;
    let more = "retries = 5\nretry_budget = { share = 0.2, per_second = 0 }";
    let front = in_front_of(&[&bad], more).await;
    for _ in 0..50 {
        assert_eq!(front.ask(get("/")).await.status, 503);
    }
    assert_eq!(bad.seen().len(), 60, "a fifth more, and no storm");
}

#[tokio::test]
async fn a_breaker_answers_at_once_and_closes_again() {
    let well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let backend = {
        let well = std::sync::Arc::clone(&well);
        Backend::answering(move |_| {
            if well.load(std::sync::atomic::Ordering::SeqCst) { ok("well") } else { busy() }
        })
        .await
    };
    let more = "retries = 0\nbreaker = { min = 5, open = \"2s\", probes = 2 }";
    let front = in_front_of(&[&backend], more).await;
    for _ in 0..5 {
        assert_eq!(front.ask(post("/", "x")).await.text(), "busy");
    }
    for _ in 0..20 {
        let answer = front.ask(get("/")).await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("upstream-unavailable"), "{answer:?}");
        let after = crate::support::headers(&answer.head, "retry-after");
        assert!(matches!(after.as_slice(), ["1" | "2"]), "{answer:?}");
    }
    assert_eq!(backend.seen().len(), 5, "nobody was asked");
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    let since = Instant::now();
    while front.ask(get("/")).await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..10 {
        assert_eq!(front.ask(get("/")).await.text(), "well");
    }
}

#[tokio::test]
async fn one_upstream_has_so_many_requests_under_way() {
    let backend =
        Backend::answering(|seen| if seen.contains("/never") { Reply::Never } else { ok("") })
            .await;
    let front = in_front_of(&[&backend], "requests = 2").await;
    let mut waiting = Vec::new();
    for count in 1..=2 {
        let mut client = front.connect().await;
        client.send(get("/never")).await;
        waiting.push(client);
        let since = Instant::now();
        while backend.connections() < count {
            assert!(since.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(5)).await;
        }
    }
    let answer = front.ask(get("/")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("upstream-unavailable"));
    drop(waiting.pop());
    let since = Instant::now();
    while front.ask(get("/")).await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(20), "what was given up is given back");
        sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..5 {
        assert_eq!(front.ask(get("/")).await.status, 200, "and so is what is done");
    }
}

#[tokio::test]
async fn a_slow_server_is_raced_by_another() {
    let slow = Backend::answering(|_| Reply::Never).await;
    let fast = Backend::hello().await;
    let more =
        "hedge = \"100ms\"\nretry_budget = { share = 1.0, per_second = 10 }\ntimeout = \"3s\"";
    let front = in_front_of(&[&slow, &fast], more).await;
    for _ in 0..4 {
        let since = Instant::now();
        assert_eq!(front.ask(get("/")).await.status, 200);
        assert!(since.elapsed() < Duration::from_millis(2_500), "{:?}", since.elapsed());
    }
    assert!(!slow.seen().is_empty());
    let statuses = [front.ask(post("/", "x")).await.status, front.ask(post("/", "x")).await.status];
    assert!(statuses.contains(&504), "what changes something is not raced: {statuses:?}");
}

/// Whoever gives a server less time than it needs says nothing about the server, and neither does one who waits for its word.
#[tokio::test]
async fn no_client_can_have_a_server_left_alone() {
    let slow = Backend::answering(|_| Reply::Never).await;
    let more = "retries = 0\nbreaker = { min = 3, open = \"60s\" }";
    let front = in_front_of(&[&slow], more).await;
    for _ in 0..6 {
        let call = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ngrpc-timeout: 5m\r\ncontent-length: 2\r\n\r\nhi";
        let answer = front.ask(call).await;
        assert_eq!(answer.header("grpc-status"), Some("4"), "{answer:?}");
    }
    // It is asked all the same.
    slow.seen();
    let mut client = front.connect().await;
    client.send(get("/still")).await;
    let since = Instant::now();
    while slow.seen().iter().all(|seen| !seen.contains("/still")) {
        assert!(since.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(5)).await;
    }

    // It never says that it wants a body, and answers once it has one.
    let silent = Backend::hello().await;
    let front = in_front_of(&[&silent], &format!("timeout = \"500ms\"\n{more}")).await;
    for _ in 0..4 {
        let mut client = front.connect().await;
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.unwrap().status, 100);
        client.send("hi").await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
}
