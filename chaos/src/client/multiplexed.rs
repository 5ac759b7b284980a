//! A client of HTTP/2 with prior knowledge.
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http1::PATIENCE;
use super::{Ask, Fault};

/// Asks one thing after the other over one connection, and opens a new one where the server has ended the old one
/// before a request was sent.
#[derive(Debug)]
pub(crate) struct Multiplexed {
    to: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    opened: u64,
    unsent: u64,
}

impl Multiplexed {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, connection: None, opened: 0, unsent: 0 }
    }
    /// How many connections it has had.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }
    /// How many requests a closing connection gave back before it sent a byte of them.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<(), Fault> {
        timeout(PATIENCE, self.exchange(ask)).await.map_err(|_| Fault::Late)?
    }
    async fn exchange(&mut self, ask: &Ask) -> Result<(), Fault> {
        let mut request = ask.http2(self.to)?;
        loop {
            let mut connection = self.usable().await?;
            let response = match connection.try_send_request(request).await {
                Ok(response) => response,
                // hyper notices a GOAWAY when it is given the next request. It gives that request back where no byte
                // of it was sent; all others count as sent.
                Err(mut error) => {
                    request = error.take_message().ok_or(Fault::Http2)?;
                    self.unsent += 1;
                    continue;
                }
            };
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|_| Fault::Http2)?.to_bytes();
            self.connection = Some(connection);
            return ask.check(status, &body);
        }
    }
    /// The connection, or a new one where the old one says that it is closed.
    async fn usable(&mut self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| Fault::Http2)?;
        // What goes wrong with the connection shows in the requests.
        tokio::spawn(connection);
        self.opened += 1;
        Ok(sender)
    }
}
