//! The clients that hold connections for nothing.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::failure::{Failure, Result};

/// What a client does instead of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Idle,
    SlowHeader,
    SlowBody,
    SlowReader,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::Idle, Self::SlowHeader, Self::SlowBody, Self::SlowReader];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "connections that send nothing",
            Self::SlowHeader => "that send a byte of a header each second",
            Self::SlowBody => "that send a byte of a body each second",
            Self::SlowReader => "that hardly read the answer",
        }
    }
    pub(super) fn members(self) -> u64 {
        if self == Self::Idle { 10_000 } else { 1000 }
    }
    /// How long such a connection may live at most.
    pub(super) fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Idle | Self::SlowHeader => 12,
            Self::SlowBody => 45,
            Self::SlowReader => 60,
        })
    }
}

/// One connection of the crowd, known by its port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) kind: Kind,
    pub(super) port: u16,
    pub(super) opened: Instant,
}

/// All that hold connections. They let go when this is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    members: Vec<Member>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Every kind in its number.
    pub(super) async fn gather(to: SocketAddr) -> Result<Self> {
        let mut crowd = Self { members: Vec::new(), tasks: JoinSet::new() };
        for kind in Kind::ALL {
            crowd.add(to, kind).await?;
        }
        Ok(crowd)
    }
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }
    async fn add(&mut self, to: SocketAddr, kind: Kind) -> Result {
        for at in 0..kind.members() {
            let stream = connect(to, kind).await.map_err(|error| {
                Failure::new(format!("connection {at} of those {}: {error}", kind.name()))
            })?;
            let port = stream.local_addr()?.port();
            self.members.push(Member { kind, port, opened: Instant::now() });
            self.tasks.spawn(behave(stream, to, kind, at));
            rest_after(at).await;
        }
        Ok(())
    }
}

/// Lets the server accept, so that no connection is lost in front of a full queue.
pub(super) async fn rest_after(at: u64) {
    if at % 64 == 63 {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn connect(to: SocketAddr, kind: Kind) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::SlowReader {
        // The kernel would take much of the answer for a client that does not read.
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(to).await
}

async fn behave(stream: TcpStream, to: SocketAddr, kind: Kind, at: u64) {
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: {to}\r\n");
    // A connection that fails has been ended by the server, which the table of sockets shows.
    let _ended = match kind {
        Kind::Idle => drain(stream).await,
        Kind::SlowHeader => drip(stream, &(head("GET /") + "X-Slow: ")).await,
        Kind::SlowBody => {
            let head = head("POST /echo") + "Content-Length: 100000\r\n\r\n";
            drip(stream, &head).await
        }
        Kind::SlowReader => {
            let head = head("GET /stream?bytes=50000000") + "\r\n";
            // Half of them read a little, half of them nothing at all.
            read_slowly(stream, &head, if at.is_multiple_of(2) { 100 } else { 0 }).await
        }
    };
}

/// Reads until the server ends the connection.
async fn drain(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 256];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// Sends the head, and behind it a byte each second.
async fn drip(mut stream: TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    let mut seconds = interval(Duration::from_secs(1));
    let mut bytes = [0; 256];
    loop {
        tokio::select! {
            read = stream.read(&mut bytes) => if read? == 0 { return Ok(()) },
            _ = seconds.tick() => stream.write_all(b"a").await?,
        }
    }
}

/// Sends the head, and reads so many bytes each second.
async fn read_slowly(mut stream: TcpStream, head: &str, each: usize) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    if each == 0 {
        return std::future::pending().await;
    }
    let mut seconds = interval(Duration::from_secs(1));
    let mut bytes = vec![0; each];
    loop {
        seconds.tick().await;
        if stream.read(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}
