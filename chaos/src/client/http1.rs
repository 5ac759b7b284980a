//! A connection that speaks HTTP/1.1.
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Fault;
use super::response::{Response, parse};

/// How long a client waits for a connection or a response.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection without a request under way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(to: SocketAddr) -> Result<Self, Fault> {
        let stream = timeout(PATIENCE, TcpStream::connect(to)).await.map_err(|_| Fault::Late)??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }
    /// Sends a request and reads the whole response.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Response, Fault> {
        let exchange = async {
            self.stream.write_all(request).await?;
            self.response().await
        };
        timeout(PATIENCE, exchange).await.map_err(|_| Fault::Late)?
    }
    async fn response(&mut self) -> Result<Response, Fault> {
        self.buffer.clear();
        loop {
            if let Some((response, length)) = parse(&self.buffer).map_err(Fault::Garbled)? {
                let is_alone = length == self.buffer.len();
                return if is_alone { Ok(response) } else { Err(Fault::Garbled("bytes too many")) };
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Fault::Closed);
            }
        }
    }
    /// Whether the server has closed the connection, asked of the kernel itself: what the runtime knows of a socket
    /// may be a moment old.
    pub(super) fn was_closed(&self) -> Result<bool, Fault> {
        let mut byte = [0; 1];
        match recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Ok(true),
            Ok(_) => Err(Fault::Garbled("a response that nobody asked for")),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }
}
