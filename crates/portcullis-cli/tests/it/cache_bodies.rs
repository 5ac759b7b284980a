//! What many clients get at once through the program's cache: bodies that are still coming, large ones, and what an origin no longer says.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes};
use hyper_util::rt::TokioIo;
use portcullis_core::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cache::{HEAD, is_hit, route, until_hit, upstream};
use crate::support::{Answer, Client, Serving, find, within};

fn now() -> Instant {
    Clock::system().now()
}

/// An origin that has each connection for one answer.
struct Origin {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    listens: JoinHandle<()>,
}

impl Origin {
    /// `answer` is given each path that is asked for, and the connection.
    async fn start<F>(answer: impl Fn(String, TcpStream) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let listens = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (count, answer) = (Arc::clone(&count), answer.clone());
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while find(&read, b"\r\n\r\n").is_none() {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    count.fetch_add(1, SeqCst);
                    let head = String::from_utf8(read).unwrap();
                    answer(head.split(' ').nth(1).unwrap().to_owned(), stream).await;
                });
            }
        });
        Self { address, asked, listens }
    }
    fn asked(&self) -> usize {
        self.asked.swap(0, SeqCst)
    }
    /// Takes no connection any longer.
    async fn die(&mut self) {
        self.listens.abort();
        assert!((&mut self.listens).await.is_err_and(|error| error.is_cancelled()));
    }
    /// A gateway that keeps what this says.
    async fn behind_gateway(&self, more: &str) -> Serving {
        let route = route("/{*rest}", "\"public\"", "true");
        Serving::start(&format!("{HEAD}{}{more}{route}", upstream(self.address))).await
    }
}

/// The head of an answer whose body has so many bytes.
fn head(control: &str, len: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncache-control: {control}\r\ncontent-length: {len}\r\n\r\n"
    )
}

async fn send(stream: &mut TcpStream, text: impl AsRef<[u8]>) {
    // Whoever asked may be gone.
    drop(stream.write_all(text.as_ref()).await);
}

/// Waits for a gate to open.
async fn opened(gate: &watch::Receiver<bool>) {
    gate.clone().wait_for(|is_open| *is_open).await.unwrap();
}

async fn begin(gateway: &Serving, path: &str) -> Client {
    let mut client = gateway.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    client
}

/// Reads until this has come.
async fn until(client: &mut Client, part: &str) {
    within(async {
        while find(&client.read, part.as_bytes()).is_none() {
            let count = client.stream.read_buf(&mut client.read).await.unwrap();
            assert!(count > 0, "the end in {}", String::from_utf8_lossy(&client.read));
        }
    })
    .await;
}

async fn ask(gateway: &Serving, path: &str) -> Answer {
    begin(gateway, path).await.answer().await.expect("an answer")
}

/// A thousand clients, or as many as there may be sockets.
fn crowd() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let most = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    most.saturating_sub(200).min(1_000)
}

#[tokio::test]
async fn a_crowd_is_one_request_to_the_origin_though_the_first_of_it_leaves_half_way() {
    let (open, gate) = watch::channel(false);
    let origin = Origin::start(move |_, mut stream| {
        let gate = gate.clone();
        async move {
            send(&mut stream, head("max-age=60", 20) + "first half").await;
            opened(&gate).await;
            send(&mut stream, "other half").await;
        }
    })
    .await;
    let gateway = origin.behind_gateway("").await;
    let mut leader = begin(&gateway, "/cold").await;
    until(&mut leader, "first half").await;
    let count = crowd();
    let began = now();
    let others = join_all((1..count).map(async |_| {
        let mut client = begin(&gateway, "/cold").await;
        until(&mut client, "first half").await;
        client
    }));
    let others = others.await;
    let took = now() - began;
    drop(leader);
    open.send(true).unwrap();
    for mut client in others {
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "first halfother half"));
    }
    assert_eq!(until_hit(&gateway, "/cold", "").await.text(), "first halfother half");
    assert_eq!(origin.asked(), 1);
    eprintln!("{count} clients, of whom the last had the first half after {took:?}");
}

#[tokio::test]
async fn when_the_first_of_a_crowd_leaves_before_the_answer_another_asks() {
    let (open, gate) = watch::channel(false);
    let origin = Origin::start(move |_, mut stream| {
        let gate = gate.clone();
        async move {
            opened(&gate).await;
            send(&mut stream, head("max-age=60", 5) + "there").await;
        }
    })
    .await;
    let gateway = origin.behind_gateway("").await;
    let leader = begin(&gateway, "/held").await;
    within(async {
        while origin.asked.load(SeqCst) == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let others = join_all((0..100).map(|_| begin(&gateway, "/held"))).await;
    drop(leader);
    within(async {
        while origin.asked.load(SeqCst) == 1 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    open.send(true).unwrap();
    for mut client in others {
        assert_eq!(client.answer().await.expect("an answer").text(), "there");
    }
    assert_eq!(origin.asked(), 2, "one in the place of the one that left");
}

#[tokio::test]
async fn what_an_origin_no_longer_says_is_answered_from_what_it_said() {
    let (hang, hangs) = watch::channel(false);
    let mut origin = Origin::start(move |_, mut stream| {
        let hangs = *hangs.borrow();
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            send(&mut stream, head("max-age=1, stale-if-error=600", 4) + "said").await;
        }
    })
    .await;
    let gateway = origin.behind_gateway("timeout = \"400ms\"\nretries = 0\n").await;
    let crowd = async |what: &str, asked: usize| {
        let began = now();
        let answers = join_all((0..50).map(|_| ask(&gateway, "/a"))).await;
        let took = now() - began;
        for answer in answers {
            assert_eq!((answer.status, answer.text().as_str()), (200, "said"), "{}", answer.head);
            assert!(is_hit(&answer), "{}", answer.head);
        }
        eprintln!("{what}: 50 clients have what was said after {took:?}; asked before: {asked}");
        // Once for whoever asks, and once more for who waited for it in vain.
        assert!(took < Duration::from_secs(2), "{what}: {took:?}");
    };
    until_hit(&gateway, "/a", "").await;
    sleep(Duration::from_millis(2_100)).await;
    hang.send(true).unwrap();
    crowd("slow", origin.asked()).await;
    let asked = origin.asked();
    origin.die().await;
    crowd("dead", asked).await;
    crowd("dead for a while", origin.asked()).await;
}

#[tokio::test]
async fn who_joins_while_a_body_comes_slowly_has_its_beginning_at_once() {
    let origin = Origin::start(|_, mut stream| async move {
        send(&mut stream, head("max-age=60", 44)).await;
        for _ in 0..10 {
            send(&mut stream, "part").await;
            sleep(Duration::from_millis(500)).await;
        }
        send(&mut stream, "last").await;
    })
    .await;
    let gateway = origin.behind_gateway("").await;
    let mut leader = begin(&gateway, "/slow").await;
    until(&mut leader, "part").await;
    sleep(Duration::from_millis(300)).await;
    let began = now();
    let mut joiner = begin(&gateway, "/slow").await;
    until(&mut joiner, "part").await;
    let first = now() - began;
    let want = "part".repeat(10) + "last";
    for client in [&mut leader, &mut joiner] {
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.text(), want);
    }
    let whole = now() - began;
    eprintln!("the first byte after {first:?}, and the last after {whole:?}");
    assert!(first < Duration::from_secs(1) && whole > Duration::from_secs(4));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn clients_of_what_is_not_kept_are_all_at_the_origin_at_once() {
    let (all, first) = (Arc::new(Barrier::new(20)), Arc::new(AtomicBool::new(true)));
    let origin = Origin::start(move |_, mut stream| {
        let (all, is_first) = (Arc::clone(&all), first.swap(false, SeqCst));
        async move {
            if !is_first {
                // Nobody is answered before everybody is here.
                all.wait().await;
                sleep(Duration::from_millis(400)).await;
            }
            send(&mut stream, head("no-store", 3) + "one").await;
        }
    })
    .await;
    let gateway = origin.behind_gateway("").await;
    assert_eq!(ask(&gateway, "/never").await.status, 200);
    assert_eq!(origin.asked(), 1);
    for _ in 0..3 {
        let began = now();
        let answers = join_all((0..20).map(|_| ask(&gateway, "/never"))).await;
        let took = now() - began;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "one"));
        assert_eq!(origin.asked(), 20);
        eprintln!("20 clients have what takes 400 ms after {took:?}");
    }
}

/// How much there is of a large body.
const LARGE: usize = 1 << 30;
/// By how much the program's memory may grow.
const GROWTH: usize = 64 << 20;

/// What large bodies consist of, over and over: no power of two is a multiple of its length.
fn pattern() -> Arc<[u8]> {
    let mut state = 0x9e37_79b9_u32;
    let bytes = (0..251 * 1_021).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    });
    bytes.collect()
}

/// What the program has in memory by now, or had at most, in bytes.
fn memory(gateway: &Serving, which: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

async fn send_large(mut stream: TcpStream, pattern: &[u8], is_sized: bool) {
    let sized = format!("content-length: {LARGE}");
    let length = if is_sized { &sized } else { "transfer-encoding: chunked" };
    send(
        &mut stream,
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncache-control: max-age=60\r\n{length}\r\n\r\n"
        ),
    )
    .await;
    let mut left = LARGE;
    while left > 0 {
        let part = &pattern[..pattern.len().min(left)];
        if !is_sized {
            send(&mut stream, format!("{:x}\r\n", part.len())).await;
        }
        if stream.write_all(part).await.is_err() {
            return;
        }
        if !is_sized {
            send(&mut stream, "\r\n").await;
        }
        left -= part.len();
    }
    if !is_sized {
        send(&mut stream, "0\r\n\r\n").await;
    }
}

/// Reads a large body to its end, each byte of which is as it should be. One that is slow is at the beginning for a while, and rests after each 256 KiB.
async fn read_large(gateway: &Serving, path: &str, pattern: &[u8], is_slow: bool) -> Duration {
    let began = now();
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "a").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    assert_eq!(body.size_hint().exact().is_some(), path == "/sized");
    let (mut at, mut rested) = (0, 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.unwrap().into_data() else { continue };
        let mut data = &data[..];
        while !data.is_empty() {
            let from = at % pattern.len();
            let len = data.len().min(pattern.len() - from);
            assert!(data[..len] == pattern[from..from + len], "it is something else at {at}");
            (at, data) = (at + len, &data[len..]);
        }
        if is_slow && at - rested > 1 << 18 {
            sleep(Duration::from_millis(if rested == 0 { 2_000 } else { 1 })).await;
            rested = at;
        }
    }
    assert_eq!(at, LARGE);
    now() - began
}

async fn a_large_body_goes_through(path: &str) {
    let pattern = pattern();
    let sent = Arc::clone(&pattern);
    let origin = Origin::start(move |path, stream| {
        let pattern = Arc::clone(&sent);
        async move { send_large(stream, &pattern, path == "/sized").await }
    })
    .await;
    let gateway = origin.behind_gateway("").await;
    let before = memory(&gateway, "VmRSS:");
    let quick = read_large(&gateway, path, &pattern, false);
    let slow = read_large(&gateway, path, &pattern, true);
    let (quick, slow) = join(quick, slow).await;
    let growth = memory(&gateway, "VmHWM:").saturating_sub(before);
    eprintln!(
        "{path}: the quick one has it after {quick:?}, and the slow one after {slow:?}; asked: {}; memory grew from {before} by {growth} bytes",
        origin.asked()
    );
    assert!(growth < GROWTH, "{growth} bytes more");
}

#[tokio::test]
async fn a_body_of_a_gibibyte_goes_through_in_little_memory() {
    a_large_body_goes_through("/sized").await;
}

#[tokio::test]
async fn a_body_of_a_gibibyte_whose_length_nobody_says_goes_through_in_little_memory() {
    a_large_body_goes_through("/chunked").await;
}
