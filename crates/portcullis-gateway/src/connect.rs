//! Opens connections to servers.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_core::Body;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::{At, Origin, Wire};
use crate::pool::STREAMS;

/// How much may be buffered for one HTTP/1.1 connection to a server, in each direction.
const BUFFER: usize = 64 << 10;

/// How much of one HTTP/2 answer may wait here for its client.
const STREAM_WINDOW: u32 = 128 << 10;

/// How connections are opened.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) timeout: Duration,
    pub(crate) tls: Option<TlsConnector>,
    /// How large the head of an answer may be.
    pub(crate) header_bytes: usize,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("{origin} cannot be connected to: {error}")]
    Io { origin: Origin, error: io::Error },
    #[error("{origin} took no connection within {time:?}")]
    Timeout { origin: Origin, time: Duration },
    #[error("the TLS handshake with {origin} failed: {error}{}", hint(.error))]
    Tls { origin: Origin, error: io::Error },
    #[error("{origin} does not speak HTTP as expected: {error}")]
    Handshake { origin: Origin, error: hyper::Error },
}

/// How to mend what is seen most often.
fn hint(error: &io::Error) -> &'static str {
    let unknown = error.to_string().contains("UnknownIssuer");
    if unknown { " (an authority of one's own is named with `ca`)" } else { "" }
}

/// One end of a connection, to send requests with.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connector {
    /// Opens a connection. `held` is what is held as long as it is open.
    pub(crate) async fn open(
        &self,
        origin: &Origin,
        held: impl Send + 'static,
    ) -> Result<Sender, ConnectError> {
        match timeout(self.timeout, self.open_now(origin, held)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::Timeout { origin: origin.clone(), time: self.timeout }),
        }
    }

    async fn open_now(
        &self,
        origin: &Origin,
        held: impl Send + 'static,
    ) -> Result<Sender, ConnectError> {
        let refused = |error| ConnectError::Io { origin: origin.clone(), error };
        match &origin.at {
            At::Unix(path) => {
                let stream = UnixStream::connect(&**path).await.map_err(refused)?;
                self.speak(origin, stream, held).await
            }
            At::Address(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                self.speak(origin, stream, held).await
            }
            At::Name(..) => {
                Err(refused(io::Error::new(io::ErrorKind::NotFound, "its name has no address yet")))
            }
        }
    }

    async fn speak<S>(
        &self,
        origin: &Origin,
        stream: S,
        held: impl Send + 'static,
    ) -> Result<Sender, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (Wire::Tls, Some(tls)) = (origin.wire, &self.tls) else {
            return self.shake_hands(origin, stream, origin.wire == Wire::H2c, held).await;
        };
        let failed = |error| ConnectError::Tls { origin: origin.clone(), error };
        let name = ServerName::try_from(origin.name().to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = tls.connect(name, stream).await.map_err(failed)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.shake_hands(origin, stream, h2, held).await
    }

    async fn shake_hands<S>(
        &self,
        origin: &Origin,
        stream: S,
        h2: bool,
        held: impl Send + 'static,
    ) -> Result<Sender, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error| ConnectError::Handshake { origin: origin.clone(), error };
        let io = TokioIo::new(stream);
        if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            // Room for every stream: one that nobody reads must not keep the others waiting.
            let streams = u32::try_from(STREAMS).unwrap_or(u32::MAX);
            builder
                .max_header_list_size(u32::try_from(self.header_bytes).unwrap_or(u32::MAX))
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams + 1));
            let (sender, connection) = builder.handshake(io).await.map_err(failed)?;
            tokio::spawn(async move {
                drop(connection.await);
                drop(held);
            });
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER.max(self.header_bytes))
            .max_header_size(self.header_bytes)
            .handshake(io)
            .await
            .map_err(failed)?;
        let connection = connection.with_upgrades();
        tokio::spawn(async move {
            drop(connection.await);
            drop(held);
        });
        Ok(Sender::Http1(sender))
    }
}

/// What TLS to servers needs.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    pub(crate) ca: Option<std::path::PathBuf>,
    pub(crate) identity: Option<(std::path::PathBuf, std::path::PathBuf)>,
    pub(crate) http1_only: bool,
}

impl UpstreamTls {
    /// The roots that the machine trusts; no certificate of our own; HTTP/2 where the server offers it.
    pub fn new() -> Self {
        Self::default()
    }
    /// Trusts the certificates in this PEM file, and nobody else.
    #[must_use]
    pub fn ca(self, file: impl Into<std::path::PathBuf>) -> Self {
        Self { ca: Some(file.into()), ..self }
    }
    /// Shows this certificate chain, with this key, to servers that ask who we are (mutual TLS). Both in PEM.
    #[must_use]
    pub fn client_certificate(
        self,
        chain: impl Into<std::path::PathBuf>,
        key: impl Into<std::path::PathBuf>,
    ) -> Self {
        Self { identity: Some((chain.into(), key.into())), ..self }
    }
    /// Speaks HTTP/1.1 also to servers that offer HTTP/2.
    #[must_use]
    pub fn http1_only(self) -> Self {
        Self { http1_only: true, ..self }
    }

    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};

        let certificates = |file: &std::path::Path| -> Result<Vec<_>, String> {
            let all: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            let all = all.map_err(|error| format!("`{}`: {error}", file.display()))?;
            if all.is_empty() {
                return Err(format!("`{}` holds no certificate in PEM", file.display()));
            }
            Ok(all)
        };
        let mut roots = rustls::RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                for certificate in certificates(file)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| format!("`{}`: {error}", file.display()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain)?;
                let parsed = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("`{}`: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(chain, parsed)
                    .map_err(|error| format!("`{}`: {error}", key.display()))?
            }
        };
        config.alpn_protocols = if self.http1_only {
            vec![b"http/1.1".to_vec()]
        } else {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
