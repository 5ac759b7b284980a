//! Small ends of HTTP/1.1: clients that ask one thing, and servers in this very process.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// The body of an answer to GET, on a connection of its own.
pub(crate) async fn get(to: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    timeout(PATIENCE, read).await.map_err(|_| Failure::new("no answer in time"))??;
    let (_, body) = text.split_once("\r\n\r\n").ok_or_else(|| Failure::new("no whole answer"))?;
    Ok(body.to_owned())
}

/// Reads up to the end of a head. What is behind it stays in the buffer.
pub(crate) async fn head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads a body of this length. What is behind it stays in the buffer.
pub(crate) async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    length: u64,
) -> Result<Vec<u8>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(Failure::new("the body ended early"));
        }
    }
    Ok(buffer.drain(..length).collect())
}

/// The value of a header that is a number.
pub(crate) fn number(head: &str, name: &str) -> Option<u64> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values.next()?.1.trim().parse().ok()
}

/// The status of an answer.
pub(crate) fn status(head: &str) -> u16 {
    head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}
