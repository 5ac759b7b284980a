//! Fetches keys over HTTP.
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::BoxError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::source::FetchKeys;

/// How long a fetch may take, and how large what it brings may be.
const LONGEST: Duration = Duration::from_secs(5);
const LARGEST: usize = 256 << 10;

/// Where an issuer publishes its keys: `https://..`, or `http://` on this very machine. Redirects are not followed, so that nobody else decides which
/// address is asked.
#[derive(Clone)]
pub struct JwksUrl {
    uri: Uri,
    host: Arc<str>,
    port: u16,
    tls: Option<TlsConnector>,
}

/// An address from which no keys can be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksUrlError {
    /// It is none, has a user, or none of the schemes.
    #[error("`{0}` is no address of keys: write `https://id.example/jwks`")]
    NoUrl(String),
    /// Whoever stands between could give keys of their own.
    #[error(
        "`{0}`: over `http` keys come only from this machine (127.0.0.1, ::1, localhost); write `https`"
    )]
    Plain(String),
    /// The file of authorities cannot be read.
    #[error("the authorities: {0}")]
    Authorities(String),
}

impl JwksUrl {
    /// Trusts the authorities that the machine trusts.
    ///
    /// # Errors
    /// It is no address, or one that is not safe.
    pub fn new(url: &str) -> Result<Self, JwksUrlError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::with_roots(url, roots)
    }
    /// Trusts these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// As [`new`](Self::new), or they cannot be read.
    pub fn with_authorities(url: &str, pem: &[u8]) -> Result<Self, JwksUrlError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate.map_err(|error| error.to_string());
            let added = added.and_then(|one| roots.add(one).map_err(|error| error.to_string()));
            added.map_err(JwksUrlError::Authorities)?;
        }
        Self::with_roots(url, roots)
    }
    fn with_roots(url: &str, roots: RootCertStore) -> Result<Self, JwksUrlError> {
        let wrong = || JwksUrlError::NoUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let (port, tls) = match uri.scheme_str() {
            Some("https") => {
                let config =
                    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                (443, Some(TlsConnector::from(Arc::new(config))))
            }
            Some("http") if is_here => (80, None),
            Some("http") => return Err(JwksUrlError::Plain(url.to_owned())),
            _ => return Err(wrong()),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { host: host.into(), port, tls, uri })
    }

    async fn get(self) -> Result<Vec<u8>, BoxError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        match &self.tls {
            // Whatever the name is looked up as.
            None if !stream.peer_addr()?.ip().is_loopback() => {
                Err("it is not this machine, and `http` is for that alone".into())
            }
            None => self.ask(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.to_string())?;
                let stream = tls.connect(name, stream).await?;
                self.ask(stream).await
            }
        }
    }
    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Vec<u8>, BoxError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        let connection = tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path).header(HOST, authority).header(ACCEPT, "application/json");
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("{} answers {}", self.uri, response.status()).into());
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await?;
        connection.abort();
        Ok(body.to_bytes().to_vec())
    }
}

impl FetchKeys for JwksUrl {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send>> {
        let (this, uri) = (self.clone(), self.uri.clone());
        Box::pin(async move {
            let fetched = timeout(LONGEST, this.get()).await;
            fetched.map_err(|_| format!("{uri} has not answered within {LONGEST:?}"))?
        })
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwksUrl").field(&self.uri.to_string()).finish()
    }
}
