//! What is known about the connection that a request came on.
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// The connection that a request came on: addresses, and TLS where there is any.
///
/// The server that accepted the connection, or an adapter for it, puts it into the request's extensions, where the
/// outermost of our layers finds it; nothing in it comes from a header.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
}

impl Connection {
    /// A connection from `peer`; `None` where there is no address, as on a Unix socket.
    pub fn new(peer: Option<SocketAddr>) -> Self {
        Self { peer, local: None, tls: None }
    }
    /// Adds the address that the connection was accepted on.
    #[must_use]
    pub fn with_local(self, local: SocketAddr) -> Self {
        Self { local: Some(local), ..self }
    }
    /// Adds what TLS negotiated.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }
    /// The other end.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
    /// The address that the connection was accepted on.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }
    /// What TLS negotiated; `None` on a connection in clear.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }
}

/// What TLS negotiated on a [`Connection`].
#[derive(Clone, Debug, Default)]
pub struct Tls {
    server_name: Option<Box<str>>,
    alpn: Option<Bytes>,
    client_certificate: Option<Bytes>,
}

impl Tls {
    /// TLS without any of the options.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds the name that the client asked for (SNI).
    #[must_use]
    pub fn with_server_name(self, name: &str) -> Self {
        Self { server_name: Some(name.into()), ..self }
    }
    /// Adds the protocol that was agreed on (ALPN).
    #[must_use]
    pub fn with_alpn(self, protocol: Bytes) -> Self {
        Self { alpn: Some(protocol), ..self }
    }
    /// Adds the client's verified end-entity certificate, in DER.
    #[must_use]
    pub fn with_client_certificate(self, der: Bytes) -> Self {
        Self { client_certificate: Some(der), ..self }
    }
    /// The name that the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
    /// The protocol that was agreed on (ALPN), such as `h2`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }
    /// The client's verified end-entity certificate, in DER.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        self.client_certificate.as_deref()
    }
}
