//! A client that shows a cookie or a key, and never asks a second time by itself.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, Result};
use crate::gateway::peer::{body, head, number, status};

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const COOKIE: &str = "__Host-session";

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The session that begins, where one does.
    pub(super) cookie: Option<String>,
}

/// A client that keeps its connection.
#[derive(Debug)]
pub(super) struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub(super) fn new(to: SocketAddr) -> Self {
        Self { to, stream: None }
    }
    /// Begins a session by a key.
    pub(super) async fn log_in(&mut self, key: &str) -> Result<Reply> {
        self.ask("POST /session", &format!("x-api-key: {key}\r\ncontent-length: 0")).await
    }
    pub(super) async fn check(&mut self, cookie: &str) -> Result<Reply> {
        self.ask("GET /check", &format!("cookie: {COOKIE}={cookie}")).await
    }
    pub(super) async fn log_out(&mut self, cookie: &str) -> Result<Reply> {
        self.ask("DELETE /session", &format!("cookie: {COOKIE}={cookie}")).await
    }
    async fn ask(&mut self, what: &str, header: &str) -> Result<Reply> {
        let late = |_| Failure::new("no answer in time");
        timeout(PATIENCE, self.exchange(what, header)).await.map_err(late)?
    }
    async fn exchange(&mut self, what: &str, header: &str) -> Result<Reply> {
        // Taken, so that a connection that failed is not used again.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.to).await?,
        };
        let ask = format!("{what} HTTP/1.1\r\nhost: {}\r\n{header}\r\n\r\n", self.to);
        stream.write_all(ask.as_bytes()).await?;
        let mut buffer = Vec::new();
        let head = head(&mut stream, &mut buffer).await?;
        let head = head.ok_or_else(|| Failure::new("no answer"))?;
        body(&mut stream, &mut buffer, number(&head, "content-length").unwrap_or(0)).await?;
        if !head.to_ascii_lowercase().contains("\r\nconnection: close") {
            self.stream = Some(stream);
        }
        Ok(Reply { status: status(&head), cookie: cookie(&head) })
    }
}

/// The session that a browser is told to keep.
fn cookie(head: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lines = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let value = lines.find_map(|(_, value)| value.strip_prefix(COOKIE)?.strip_prefix('='))?;
    let value = value.split(';').next()?;
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_kept_unless_it_is_taken_back() {
        let head = |value: &str| format!("HTTP/1.1 200 OK\r\nSet-Cookie: {value}; Path=/\r\n\r\n");
        assert_eq!(cookie(&head("__Host-session=abc")).as_deref(), Some("abc"));
        for value in ["__Host-session=", "other=abc", "__Host-session2=abc"] {
            assert_eq!(cookie(&head(value)), None, "{value}");
        }
    }
}
