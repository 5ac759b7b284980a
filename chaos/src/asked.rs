//! A kept connection over which one thing after the other is asked, whatever is answered.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, Result};
use crate::gateway::peer::{body, head, number, status};

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
}

/// A client that keeps its connection, and opens another where that one failed. It never asks a second time by itself.
#[derive(Debug)]
pub(crate) struct Asker {
    to: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Asker {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, stream: None, buffer: Vec::new() }
    }
    /// GET of a path, with these lines in the head besides.
    pub(crate) async fn get(&mut self, path: &str, more: &str) -> Result<Reply> {
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", self.to);
        let late = |_| Failure::new("no answer in time");
        timeout(PATIENCE, self.exchange(ask.as_bytes())).await.map_err(late)?
    }
    async fn exchange(&mut self, ask: &[u8]) -> Result<Reply> {
        // Taken, so that a connection that failed is not used again.
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.to).await?;
            stream.set_nodelay(true)?;
            stream
        };
        self.buffer.clear();
        stream.write_all(ask).await?;
        let head = head(&mut stream, &mut self.buffer).await?;
        let head = head.ok_or_else(|| Failure::new("no answer"))?.to_ascii_lowercase();
        let length = number(&head, "content-length").unwrap_or(0);
        body(&mut stream, &mut self.buffer, length).await?;
        if !head.contains("\r\nconnection: close") {
            self.stream = Some(stream);
        }
        Ok(Reply { status: status(&head), head })
    }
}
