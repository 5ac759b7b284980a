//! What is known about the connection that a request came on.
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Draining, Informational};

/// The connection that a request came on: addresses, TLS where there is any, and what the server offers whoever serves the
/// request.
///
/// The server that accepted the connection, or an adapter for it, puts it into the request's extensions, where the
/// outermost of our layers finds it; nothing in it comes from a header.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    // What is the same for all requests of the connection is shared, so that a clone for each costs little.
    shared: Option<Arc<Shared>>,
    informational: Option<Informational>,
}

#[derive(Clone, Debug, Default)]
struct Shared {
    tls: Option<Arc<Tls>>,
    draining: Option<Draining>,
}

impl Connection {
    /// A connection from `peer`; `None` where there is no address, as on a Unix socket.
    pub fn new(peer: Option<SocketAddr>) -> Self {
        Self { peer, ..Self::default() }
    }
    /// Adds the address that the connection was accepted on.
    #[must_use]
    pub fn with_local(self, local: SocketAddr) -> Self {
        Self { local: Some(local), ..self }
    }
    /// Adds what TLS negotiated.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        self.edit(|shared| shared.tls = Some(tls))
    }
    /// Adds the signal that the server is about to close. Default: none, as of a server that does not say.
    #[must_use]
    pub fn with_draining(self, draining: Draining) -> Self {
        self.edit(|shared| shared.draining = Some(draining))
    }
    /// Adds a way to send informational responses ahead of the answer to this request. Default: none, since not every
    /// protocol has them.
    #[must_use]
    pub fn with_informational(self, informational: Informational) -> Self {
        Self { informational: Some(informational), ..self }
    }
    fn edit(mut self, edit: impl FnOnce(&mut Shared)) -> Self {
        edit(Arc::make_mut(self.shared.get_or_insert_default()));
        self
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
        self.shared.as_ref()?.tls.as_deref()
    }
    /// The signal that the server is about to close; `None` where the server does not say.
    pub fn draining(&self) -> Option<&Draining> {
        self.shared.as_ref()?.draining.as_ref()
    }
    /// A way to send informational responses; `None` where the protocol or the server has none.
    pub fn informational(&self) -> Option<&Informational> {
        self.informational.as_ref()
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
