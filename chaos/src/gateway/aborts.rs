//! Clients that go away in the middle of a request.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::peer::{get, head};
use super::stale::Random;
use super::{in_front_of, metric};
use crate::failure::Result;
use crate::numbers::{count, mebibytes, millis};
use crate::report::Report;
use crate::server::Launch;

const ABORTS: u64 = 10_000;
/// How many clients there are at a time.
const AT_ONCE: usize = 64;
/// How soon everything is back.
const SOON: Duration = Duration::from_secs(5);

pub(super) async fn run(gateway: &Path, report: &mut Report) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let backend = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let text = in_front_of(&[format!("http://{address}")], "connections = 200");
    let front = Launch::gateway(gateway, "aborts", &text)?.start().await?;
    let (to, observe) = (front.address(), front.observed_at()?);
    get(to, "/quick").await?;
    let (memory, descriptors) = (front.memory()?.now, front.descriptors()?);
    let mut clients = JoinSet::new();
    for number in 0..ABORTS {
        if clients.len() >= AT_ONCE {
            drop(clients.join_next().await);
        }
        clients.spawn(abort(to, number));
    }
    drop(clients.join_all().await);
    let since = Instant::now();
    let back = timeout(SOON, async {
        while metric(observe, "portcullis_upstream_in_flight").await? > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        Result::Ok(())
    })
    .await;
    let took = since.elapsed();
    let in_flight = metric(observe, "portcullis_upstream_in_flight").await?;
    // One connection is the one that asks.
    let open = metric(observe, "portcullis_server_connections").await?.saturating_sub(1);
    let well = get(to, "/quick").await.is_ok();
    let grown = front.memory()?.now.saturating_sub(memory);
    let left = front.descriptors()?.saturating_sub(descriptors);
    front.kill().await?;
    backend.abort();
    report.figure("clients that went away", count(ABORTS));
    let gone = in_flight == 0 && back.is_ok();
    report.gate("requests still in flight behind them", count(in_flight), "0", gone);
    report.figure("after the last of them", millis(took));
    report.gate("their connections still open", count(open), "0", open == 0);
    report.gate(
        "descriptors more than before, kept connections included",
        count(left),
        "at most 210",
        left <= 210,
    );
    report.gate("memory more than before", mebibytes(grown), "at most 16 MiB", grown <= 16 << 20);
    report.gate("answers as before", if well { "yes" } else { "no" }, "yes", well);
    Ok(())
}

/// Asks, and goes away at any point: before the request is whole, before the answer, in the middle of it.
async fn abort(to: SocketAddr, number: u64) -> Result {
    let mut random = Random::new();
    let mut stream = TcpStream::connect(to).await?;
    let request: &[u8] = match number % 4 {
        0 => b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n",
        1 => b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n",
        2 => b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nonly the beginning",
        _ => b"POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    };
    let whole = random.below(10) > 0;
    let part = if whole { request } else { request.get(..20).unwrap_or_default() };
    stream.write_all(part).await?;
    let stay = Duration::from_millis(random.below(20));
    let mut bytes = vec![0; 4096];
    drop(
        timeout(stay, async {
            while stream.read(&mut bytes).await? > 0 {}
            Result::Ok(())
        })
        .await,
    );
    Ok(())
}

async fn serve(mut stream: TcpStream) -> Result {
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        if head.starts_with("GET /quick ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        } else if head.starts_with("GET /stream ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
            let piece = vec![b'x'; 16 << 10];
            while stream.write_all(&piece).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
            return Ok(());
        } else {
            // No answer; only the end of the connection ends it.
            let mut bytes = vec![0; 4096];
            while stream.read(&mut bytes).await? > 0 {}
            return Ok(());
        }
    }
    Ok(())
}
