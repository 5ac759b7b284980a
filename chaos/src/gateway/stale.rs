//! A back end that closes kept connections when it likes, without a word.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::peer::{body, head, number, status};
use super::{in_front_of, metric};
use crate::failure::Result;
use crate::numbers::count;
use crate::report::Report;
use crate::server::Launch;

const FOR: Duration = Duration::from_secs(10);
const READERS: usize = 16;
const WRITERS: usize = 8;

#[derive(Default)]
struct Tally {
    asked: Cell<u64>,
    failed: Cell<u64>,
}

pub(super) async fn run(gateway: &Path, report: &mut Report) -> Result {
    LocalSet::new().run_until(local(gateway, report)).await
}

async fn local(gateway: &Path, report: &mut Report) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    // How often each write was seen.
    let seen: Rc<RefCell<HashMap<u64, u32>>> = Rc::default();
    let record = Rc::clone(&seen);
    let backend = tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream, Rc::clone(&record)));
        }
    });
    let text = in_front_of(&[format!("http://{address}")], "");
    let front = Launch::gateway(gateway, "stale", &text)?.start().await?;
    let (to, observe) = (front.address(), front.observed_at()?);
    let (reads, writes) = (Rc::new(Tally::default()), Rc::new(Tally::default()));
    let until = Instant::now() + FOR;
    let next = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for client in 0..READERS + WRITERS {
        let is_reader = client < READERS;
        let tally = Rc::clone(if is_reader { &reads } else { &writes });
        let next = Rc::clone(&next);
        clients.push(tokio::task::spawn_local(ask_until(to, until, is_reader, tally, next)));
    }
    for client in clients {
        drop(client.await);
    }
    let resent = metric(observe, "portcullis_upstream_resent_total").await?;
    front.kill().await?;
    backend.abort();
    let twice = seen.borrow().values().filter(|count| **count > 1).count();
    report.figure("stale connections: GETs", count(reads.asked.get()));
    report.gate("of them failed", count(reads.failed.get()), "0", reads.failed.get() == 0);
    report.figure("POSTs", count(writes.asked.get()));
    report.figure("of them failed, since they may have been done", count(writes.failed.get()));
    report.gate("of them seen twice by the back end", count(twice as u64), "0", twice == 0);
    report.gate("sent again on another connection", count(resent), "more than 0", resent > 0);
    Ok(())
}

/// Serves a random number of requests, and closes: behind an answer, or when the next request has come, or after a random pause.
async fn serve(mut stream: TcpStream, seen: Rc<RefCell<HashMap<u64, u32>>>) -> Result {
    let mut buffer = Vec::new();
    let mut random = Random::new();
    let (requests, pause) = (1 + random.below(20), Duration::from_millis(random.below(30)));
    for served in 0.. {
        let head = tokio::select! {
            head = head(&mut stream, &mut buffer) => head?,
            () = sleep(pause), if served >= requests => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        let length = number(&head, "content-length").unwrap_or(0);
        if body(&mut stream, &mut buffer, length).await.is_err() {
            return Ok(());
        }
        if let Some(id) = number(&head, "x-id") {
            *seen.borrow_mut().entry(id).or_default() += 1;
        }
        if served >= requests && random.below(4) == 0 {
            // It has come, and is not answered.
            return Ok(());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        if served >= requests && random.below(2) == 0 {
            return Ok(());
        }
    }
    Ok(())
}

async fn ask_until(
    to: SocketAddr,
    until: Instant,
    is_reader: bool,
    tally: Rc<Tally>,
    next: Rc<Cell<u64>>,
) -> Result {
    let mut connection: Option<(TcpStream, Vec<u8>)> = None;
    while Instant::now() < until {
        let (mut stream, mut buffer) = match connection.take() {
            Some(open) => open,
            None => (TcpStream::connect(to).await?, Vec::new()),
        };
        let request = if is_reader {
            format!("GET / HTTP/1.1\r\nhost: {to}\r\n\r\n")
        } else {
            next.set(next.get() + 1);
            let id = next.get();
            format!("POST / HTTP/1.1\r\nhost: {to}\r\nx-id: {id}\r\ncontent-length: 4\r\n\r\nbody")
        };
        stream.write_all(request.as_bytes()).await?;
        tally.asked.set(tally.asked.get() + 1);
        let answer = head(&mut stream, &mut buffer).await?;
        let length = answer.as_deref().and_then(|head| number(head, "content-length")).unwrap_or(0);
        while (buffer.len() as u64) < length && stream.read_buf(&mut buffer).await? > 0 {}
        buffer.clear();
        if answer.as_deref().map(status) == Some(200) {
            connection = Some((stream, buffer));
        } else {
            tally.failed.set(tally.failed.get() + 1);
        }
        // So that connections lie idle now and then.
        sleep(Duration::from_millis(if tally.asked.get().is_multiple_of(7) { 20 } else { 1 }))
            .await;
    }
    Ok(())
}

/// Chance enough for an experiment (xorshift, Marsaglia 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0) | 1)
    }
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
