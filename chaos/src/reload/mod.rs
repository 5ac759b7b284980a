//! A gateway that reads its file again, over and over, under load (R1, R2).
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Result};
use crate::gateway::peer::{body, head, number, status};
use crate::numbers::{count, mebibytes, millis};
use crate::report::Report;
use crate::server::{Launch, Server, free_address};

mod changing;

use changing::{CONSTANT, Certificates, key, numbered};

const RELOADS: u64 = 100;
const CLIENTS: usize = 16;
const ROUTES: usize = 5_000;
/// How often the large file is read again, for the memory.
const MANY: u64 = 1_000;
/// How many of those come before memory is looked at for the first time. Behind each of the others it is: an allocator keeps now 50 MiB more,
/// now less, so the median of one half counts beside that of the other.
const WARM: u64 = 100;

pub(crate) async fn run(gateway: &Path) -> Result<Report> {
    let mut report = Report::figures();
    let backend = backend().await?;
    under_load(gateway, backend, &mut report).await?;
    many_routes(gateway, backend, &mut report).await?;
    Ok(report)
}

/// A back end that answers with the path that it was asked for, and echoes whatever comes behind a change of protocol.
async fn backend() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> Result {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        if head.to_ascii_lowercase().contains("\r\nupgrade: ") {
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
            stream.write_all(answer.as_bytes()).await?;
            let (mut reading, mut writing) = stream.split();
            tokio::io::copy(&mut reading, &mut writing).await?;
            return Ok(());
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    stopped: AtomicBool,
    answers: AtomicU64,
    failed: AtomicU64,
    mixed: AtomicU64,
}

async fn under_load(gateway: &Path, backend: SocketAddr, report: &mut Report) -> Result {
    let (certificates, secure) = (Arc::new(Certificates::new()?), free_address()?);
    let more = certificates.keys();
    let launch = Launch::gateway_with(gateway, "reload", &more, &numbered(backend, 0))?;
    let launch = launch.also_listening(&format!("https://{secure}"));
    launch.rewrite(&numbered(backend, 0))?;
    let front = launch.start().await?;
    let plain = front.address();
    let mut tunnel = Tunnel::open(plain).await?;
    let (tally, mut clients) = (Arc::new(Tally::default()), JoinSet::new());
    for at in 0..CLIENTS {
        let (tally, certificates) = (Arc::clone(&tally), Arc::clone(&certificates));
        clients.spawn(async move {
            while !tally.stopped.load(Relaxed) {
                // In turn in clear, for somebody, and over TLS.
                let asked = match at % 3 {
                    0 => ask_until_stopped(TcpStream::connect(plain).await, "/", &tally).await,
                    1 => ask_until_stopped(TcpStream::connect(plain).await, "/mine", &tally).await,
                    _ => match certificates.connect(secure, None).await {
                        Ok(stream) => ask_until_stopped(Ok(stream), "/mine", &tally).await,
                        Err(failure) => Err(failure),
                    },
                };
                if let Err(failure) = asked {
                    eprintln!("failed: {failure}");
                    tally.failed.fetch_add(1, Relaxed);
                }
            }
        });
    }
    let (mut longest, mut refused, mut stale) = (Duration::ZERO, 0, 0);
    for number in 1..=RELOADS {
        if number.is_multiple_of(10) {
            launch.rewrite("[[routes]]\nmatch = { path = \"/\" }\naccess = \"nobody\"\n")?;
            refused += u64::from(reload(&front).await.is_err());
        }
        certificates.write(number)?;
        launch.rewrite(&numbered(backend, number))?;
        longest = longest.max(reload(&front).await?);
        // What the file says holds for whoever comes now.
        stale += u64::from(!is_live(plain, number).await?);
        stale += u64::from(certificates.connect(secure, Some(number)).await.is_err());
        stale += u64::from(certificates.connect(secure, Some(number + 1)).await.is_ok());
        tunnel.echo(number).await?;
        sleep(Duration::from_millis(20)).await;
    }
    tally.stopped.store(true, Relaxed);
    while clients.join_next().await.is_some() {}
    tunnel.echo(RELOADS + 1).await?;
    report.figure("reloads under load", count(RELOADS));
    let most = Duration::from_millis(100);
    report.gate("the longest of them", millis(longest), "below 100.00 ms", longest < most);
    report.gate("wrong files that were refused", count(refused), "10", refused == RELOADS / 10);
    report.gate("keys, roles or certificates of another file", count(stale), "0", stale == 0);
    let (answers, failed) = (tally.answers.load(Relaxed), tally.failed.load(Relaxed));
    report.gate("requests", count(answers), "at least 10 000", answers >= 10_000);
    report.gate("of them failed", count(failed), "0", failed == 0);
    let mixed = tally.mixed.load(Relaxed);
    report.gate("answers of two files at once", count(mixed), "0", mixed == 0);
    report.gate("a tunnel goes on through all of them", "yes", "yes", true);
    front.kill().await
}

/// Whether the file of this number decides who may: its key, the one before, and no older one.
async fn is_live(to: SocketAddr, number: u64) -> Result<bool> {
    let oldest = number.wrapping_sub(2);
    for (number, want) in [(number, 200), (number.wrapping_sub(1), 200), (oldest, 401)] {
        let mut stream = TcpStream::connect(to).await?;
        let ask = format!(
            "GET /mine HTTP/1.1\r\nhost: {to}\r\nx-api-key: {}\r\nconnection: close\r\n\r\n",
            key(number)
        );
        stream.write_all(ask.as_bytes()).await?;
        let head = head(&mut stream, &mut Vec::new()).await?.unwrap_or_default();
        if status(&head) != want {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks one thing after the other on one connection.
async fn ask_until_stopped(
    stream: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>,
    path: &str,
    tally: &Tally,
) -> Result {
    let (mut stream, mut buffer) = (stream?, Vec::new());
    let ask = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {CONSTANT}\r\n\r\n");
    while !tally.stopped.load(Relaxed) {
        stream.write_all(ask.as_bytes()).await?;
        let answer = async {
            let head = head(&mut stream, &mut buffer).await?;
            let head = head.ok_or_else(|| Failure::new("no answer"))?;
            let length = number(&head, "content-length").unwrap_or(0);
            Result::Ok((body(&mut stream, &mut buffer, length).await?, head))
        };
        let late = |_| Failure::new("no answer in time");
        let (seen, head) = timeout(Duration::from_secs(10), answer).await.map_err(late)??;
        if status(&head) != 200 {
            return Err(Failure::new(format!("another status: {head}")));
        }
        tally.answers.fetch_add(1, Relaxed);
        let by = number(&head, "x-config").map(|number| format!("/{number}"));
        if by.is_none_or(|by| by.as_bytes() != seen) {
            tally.mixed.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

/// A connection that went on in another protocol.
struct Tunnel(TcpStream);

impl Tunnel {
    async fn open(to: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(to).await?;
        let ask = format!(
            "GET /tunnel HTTP/1.1\r\nhost: {to}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await?;
        let head = head(&mut stream, &mut Vec::new()).await?.unwrap_or_default();
        if status(&head) != 101 {
            return Err(Failure::new(format!("no tunnel: {head}")));
        }
        Ok(Self(stream))
    }
    async fn echo(&mut self, number: u64) -> Result {
        let said = number.to_be_bytes();
        self.0.write_all(&said).await?;
        let mut heard = [0; 8];
        let read = timeout(Duration::from_secs(10), self.0.read_exact(&mut heard)).await;
        read.map_err(|_| Failure::new("the tunnel is silent"))??;
        if heard == said { Ok(()) } else { Err(Failure::new("the tunnel says something else")) }
    }
}

/// Has the file read again, and says how long that took.
async fn reload(front: &Server) -> Result<Duration> {
    let mut stream = UnixStream::connect(front.admin()?).await?;
    let since = Instant::now();
    let ask = "POST /reload-and-widen HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await?;
    let head = head(&mut stream, &mut Vec::new()).await?.unwrap_or_default();
    let took = since.elapsed();
    if status(&head) == 200 { Ok(took) } else { Err(Failure::new(format!("reload: {head}"))) }
}

fn median<T: Copy + Default + Ord>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A gateway of thousands of routes. `number` changes one of them.
fn large(backend: SocketAddr, number: u64) -> String {
    let mut text = format!(
        "[upstreams.b]\nservers = [\"http://{backend}\"]\n\
         [auth.api_key]\nkeys = []\n[roles.clerk]\npermissions = [\"orders:*\"]\n"
    );
    for at in 0..ROUTES {
        let access = if at % 2 == 0 { "\"public\"" } else { "{ permission = \"orders:write\" }" };
        let number = if at == 0 { number } else { 0 };
        // Writing to a string never fails.
        _ = write!(
            text,
            "[[routes]]\nname = \"route-{at}\"\nmatch = {{ path = \"/v1/area-{at}/items/{{id}}\", methods = [\"GET\", \"POST\"] }}\n\
             access = {access}\nto = \"b\"\nresponse_headers = {{ x-config = \"{number}\" }}\n"
        );
    }
    text
}

async fn many_routes(gateway: &Path, backend: SocketAddr, report: &mut Report) -> Result {
    let launch = Launch::gateway(gateway, "reload-large", &large(backend, 0))?;
    let front = launch.start().await?;
    let (mut took, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=MANY {
        launch.rewrite(&large(backend, number))?;
        took.push(reload(&front).await?);
        let half = if number < MANY / 2 { &mut before } else { &mut after };
        if number >= WARM {
            half.push(front.memory()?.now);
        }
    }
    took.sort_unstable();
    let (before, after) = (median(before), median(after));
    let median = median(took.clone());
    let most = Duration::from_millis(100);
    report.gate(
        "a reload of 5 000 routes, one of them changed: median",
        millis(median),
        "below 100.00 ms",
        median < most,
    );
    report.figure("the longest of 1 000", millis(took.last().copied().unwrap_or_default()));
    report.figure("memory, reloads 100 to 500: median", mebibytes(before));
    let grown = after.saturating_sub(before);
    report.gate(
        "more, reloads 500 to 1 000",
        mebibytes(grown),
        "at most 16.0 MiB",
        grown <= 16 << 20,
    );
    front.kill().await
}
