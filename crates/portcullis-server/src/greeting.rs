//! What comes before HTTP: the PROXY header and the TLS handshake.
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use portcullis_core::{ClientAddr, Connection, Tls as TlsFacts};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::handshakes::Handshakes;
use crate::proxy_protocol::{Parsed, ProxyError, ProxyHeader, parse};
use crate::rewind::Rewind;
use crate::scratch;
use crate::stats::Ending;
use crate::stream::{Socket, Stream};
use crate::tls::{Names, Tls};
use crate::vitals::Vitals;

/// Why a connection ended before HTTP.
#[derive(Debug, Error)]
pub(crate) enum GreetingError {
    #[error("the PROXY header is not valid: {0}")]
    ProxyHeader(#[from] ProxyError),
    #[error("the connection ended within the PROXY header")]
    NoProxyHeader,
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl GreetingError {
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self {
            Self::ProxyHeader(_) | Self::NoProxyHeader => Some(Ending::ProxyHeader),
            Self::Handshake(_) => Some(Ending::Handshake),
            Self::Io(_) => None,
        }
    }
}

/// Reads the PROXY header; what came behind it stays in the stream.
pub(crate) async fn proxy_header(
    socket: &mut Rewind<Socket>,
) -> Result<ProxyHeader, GreetingError> {
    let mut read = BytesMut::new();
    loop {
        let bytes: Bytes = poll_fn(|cx| scratch::poll_read(socket, cx)).await?;
        if bytes.is_empty() {
            return Err(GreetingError::NoProxyHeader);
        }
        read.extend_from_slice(&bytes);
        match parse(&read) {
            Parsed::Incomplete => {}
            Parsed::Invalid(error) => return Err(error.into()),
            Parsed::Complete { header, len } => {
                socket.unread(read.split_off(len).freeze());
                return Ok(header);
            }
        }
    }
}

/// A stream that is ready for HTTP, and what is known about it.
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    pub(crate) connection: Connection,
    pub(crate) names: Option<Names>,
}

/// Shakes hands.
pub(crate) async fn handshake(
    socket: Rewind<Socket>,
    tls: &Tls,
    connection: Connection,
    handshakes: &Handshakes,
    vitals: &Arc<Vitals>,
) -> Result<Greeted, GreetingError> {
    let current = tls.current();
    let stream = {
        let address = connection.peer().map(|peer| ClientAddr::peer(peer.ip()).key());
        let _under_way = handshakes.begin(address, vitals);
        let acceptor = TlsAcceptor::from(current.config);
        acceptor.accept(socket).await.map_err(GreetingError::Handshake)?
    };
    let facts = facts(&stream);
    let names = facts.server_name().and_then(|name| Names::of(&current.certificates, name));
    let connection = connection.with_tls(Arc::new(facts));
    Ok(Greeted { stream: Stream::Tls(Box::new(stream)), connection, names })
}

fn facts(stream: &TlsStream<Rewind<Socket>>) -> TlsFacts {
    let (_, session) = stream.get_ref();
    let mut facts = TlsFacts::new();
    if let Some(name) = session.server_name() {
        facts = facts.with_server_name(name);
    }
    if let Some(protocol) = session.alpn_protocol() {
        facts = facts.with_alpn(Bytes::copy_from_slice(protocol));
    }
    if let Some(own) = session.peer_certificates().and_then(<[_]>::first) {
        facts = facts.with_client_certificate(Bytes::copy_from_slice(own));
    }
    facts
}

/// What is known about a connection from its addresses.
pub(crate) fn connection(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Connection {
    let connection = Connection::new(peer);
    match local {
        Some(local) => connection.with_local(local),
        None => connection,
    }
}
