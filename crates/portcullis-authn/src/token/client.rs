//! Asks an issuer over HTTP.
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::request::Builder;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_core::BoxError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// How long an answer may take.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a connection that nobody needs stays open.
const IDLE: Duration = Duration::from_secs(30);

/// An address of an issuer, and the connections to it: `https://..`, or `http://` on this very machine. Redirects are not followed, so that
/// nobody else decides which address is asked.
#[derive(Clone)]
pub(super) struct Address {
    uri: Uri,
    client: Client<Connector, Full<Bytes>>,
}

/// An address that no issuer can be asked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteUrlError {
    /// It is none, has a user, or none of the schemes.
    #[error("`{0}` is no address of an issuer: write `https://id.example/path`, without a user")]
    NoUrl(String),
    /// Whoever stands between could answer in the issuer's place.
    #[error(
        "`{0}`: over `http` issuers are asked only on this machine (127.0.0.1, ::1, localhost); write `https`"
    )]
    Plain(String),
    /// The file of authorities cannot be read.
    #[error("the authorities: {0}")]
    Authorities(String),
}

impl Address {
    /// Trusts these authorities, in PEM, and no others; those that the machine trusts, where there are none.
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, RemoteUrlError> {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(pem) => {
                let has_any = CertificateDer::pem_slice_iter(pem).next().is_some();
                if !has_any {
                    let none = "there is no certificate in PEM".to_owned();
                    return Err(RemoteUrlError::Authorities(none));
                }
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let added = certificate.map_err(|error| error.to_string());
                    let added =
                        added.and_then(|one| roots.add(one).map_err(|error| error.to_string()));
                    added.map_err(RemoteUrlError::Authorities)?;
                }
            }
        }
        let wrong = || RemoteUrlError::NoUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if let Some((_, place)) = authority.as_str().rsplit_once('@') {
            // What stands in front of it is nobody's business.
            return Err(RemoteUrlError::NoUrl(url.replace(authority.as_str(), place)));
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
            Some("http") => return Err(RemoteUrlError::Plain(url.to_owned())),
            _ => return Err(wrong()),
        };
        let port = match authority.port() {
            // A port that is none is no port to the type either.
            None if authority.as_str() != authority.host() => return Err(wrong()),
            None => port,
            Some(port) => Some(port.as_u16()).filter(|port| *port > 0).ok_or_else(wrong)?,
        };
        let connector = Connector { host: host.into(), port, tls };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { uri, client })
    }
    /// The body of the answer, which is 200 and no larger than `largest`.
    ///
    /// Dropped, the request is given up.
    pub(super) fn ask(
        &self,
        request: Builder,
        body: Bytes,
        largest: usize,
    ) -> impl Future<Output = Result<Vec<u8>, BoxError>> + Send + 'static {
        let (uri, client) = (self.uri.clone(), self.client.clone());
        async move {
            let request = request.uri(uri.clone()).header(ACCEPT, "application/json");
            let asked = timeout(LONGEST, answer(client, request.body(Full::new(body))?, largest));
            let answered = asked.await;
            let late = |_| format!("{uri} has not answered within {LONGEST:?}");
            answered.map_err(late)?.map_err(|error| format!("{uri}: {}", Chain(&*error)).into())
        }
    }
}

async fn answer(
    client: Client<Connector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    largest: usize,
) -> Result<Vec<u8>, BoxError> {
    let response = client.request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answers {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), largest).collect().await?;
    Ok(body.to_bytes().to_vec())
}

/// An error with its causes.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.uri.to_string()).finish()
    }
}

/// Opens connections to the one issuer.
#[derive(Clone)]
struct Connector {
    host: Arc<str>,
    port: u16,
    tls: Option<TlsConnector>,
}

/// A connection, whatever it is made of.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Connection for Box<dyn Wire> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Box<dyn Wire>>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            // Whatever the name is looked up as.
            if !stream.peer_addr()?.ip().is_loopback() {
                let why = "it is not this machine, and `http` is for that alone";
                return Err(io::Error::other(why));
            }
            return Ok(TokioIo::new(Box::new(stream)));
        };
        let name = ServerName::try_from(self.host.to_string()).map_err(io::Error::other)?;
        Ok(TokioIo::new(Box::new(tls.connect(name, stream).await?)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
