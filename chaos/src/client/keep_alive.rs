//! A client of HTTP/1.1 that keeps its connection.
use std::net::SocketAddr;

use super::http1::Connection;
use super::{Ask, Fault};

/// Asks one thing after the other over one connection, and opens a new one where the server has ended the old one in
/// a way that loses nothing: by `Connection: close`, or while no request was under way.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    to: SocketAddr,
    connection: Option<Connection>,
    opened: u64,
    closed_idle: u64,
}

impl KeepAlive {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, connection: None, opened: 0, closed_idle: 0 }
    }
    /// How many connections it has had.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }
    /// How often the server closed a connection while no request was under way.
    pub(crate) fn closed_idle(&self) -> u64 {
        self.closed_idle
    }
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<(), Fault> {
        // Taken, so that a connection that failed is not used again.
        let mut connection = match self.usable()? {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let response = connection.exchange(&ask.http1(self.to, false)).await?;
        if !response.close {
            self.connection = Some(connection);
        }
        ask.check(response.status, &response.body)
    }
    /// The connection, unless the server has closed it.
    fn usable(&mut self) -> Result<Option<Connection>, Fault> {
        let Some(connection) = self.connection.take() else { return Ok(None) };
        if connection.was_closed()? {
            self.closed_idle += 1;
            return Ok(None);
        }
        Ok(Some(connection))
    }
    async fn open(&mut self) -> Result<Connection, Fault> {
        let connection = Connection::open(self.to).await?;
        self.opened += 1;
        Ok(connection)
    }
}
