//! TLS: which certificate, which clients, and how both change while the server runs.
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_core::{ConfigError, ConfigErrors};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

mod client_ca;
mod files;
mod names;

pub use client_ca::ClientCa;
pub(crate) use names::Names;

use files::read;
use names::Certificates;

/// TLS of a server's `https` listeners. Cheap to clone; clones share what [`reload`](Self::reload) changes.
///
/// TLS 1.2 and 1.3, by rustls with aws-lc-rs; HTTP/2 and HTTP/1.1 by ALPN. The certificate is chosen by the name that the
/// client asks for (SNI): the names that stand in the certificate itself. A client that names nobody, or somebody unknown,
/// gets the first one. Session tickets are encrypted with keys that change every six hours and are forgotten on reload; early
/// data (0-RTT) is never taken.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use portcullis_server::{Server, Tls};
/// let tls = Tls::new().certificate("shop.pem", "shop.key").build()?;
/// let server = Server::bind("https://0.0.0.0:443").tls(tls.clone());
/// // Later, when the files have changed:
/// tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    settings: TlsBuilder,
    current: RwLock<Current>,
}

/// What new connections get.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<Certificates>,
}

/// Collects what [`Tls`] is made of.
#[derive(Clone, Debug, Default)]
#[must_use = "TLS is made by `build`"]
pub struct TlsBuilder {
    certificates: Vec<CertificateFiles>,
    client_ca: Option<ClientCa>,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    chain: PathBuf,
    key: PathBuf,
    names: Vec<String>,
}

impl Tls {
    /// Begins with no certificate.
    #[expect(clippy::new_ret_no_self, reason = "it is made from files, which may be missing")]
    pub fn new() -> TlsBuilder {
        TlsBuilder::default()
    }
    /// Reads the files again. New connections get what is there now; those that are open stay as they are. Where anything is
    /// wrong nothing changes.
    ///
    /// # Errors
    /// All that is wrong with the files.
    pub fn reload(&self) -> Result<(), ConfigErrors> {
        let fresh = self.0.settings.load()?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
    pub(crate) fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.settings).finish()
    }
}

impl TlsBuilder {
    /// Adds a certificate: the chain, the server's own first, and its key, both in PEM. It is shown to clients that ask for one
    /// of the names in it.
    pub fn certificate(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate_for(chain, key, Vec::<String>::new())
    }
    /// As [`certificate`](Self::certificate), for these names instead of those in it; `*.shop.example` stands for one label.
    pub fn certificate_for<N: Into<String>>(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.certificates.push(CertificateFiles {
            chain: chain.into(),
            key: key.into(),
            names: names.into_iter().map(Into::into).collect(),
        });
        self
    }
    /// Asks clients for a certificate (mutual TLS). Default: they are not asked.
    pub fn client_ca(self, ca: ClientCa) -> Self {
        Self { client_ca: Some(ca), ..self }
    }
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong: no certificate, a file that cannot be read, no certificate or key in it, a key that belongs to another
    /// certificate.
    pub fn build(self) -> Result<Tls, ConfigErrors> {
        let current = RwLock::new(self.load()?);
        Ok(Tls(Arc::new(Shared { settings: self, current })))
    }

    fn load(&self) -> Result<Current, ConfigErrors> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut errors = ConfigErrors::default();
        if self.certificates.is_empty() {
            errors.push(ConfigError::new(
                "tls",
                "there is no certificate: name one with `certificate(chain, key)`",
            ));
        }
        let mut certificates = Vec::new();
        for files in &self.certificates {
            match read(files, &provider) {
                Ok(certificate) => certificates.push(certificate),
                Err(wrong) => errors.extend(wrong),
            }
        }
        let verifier = match &self.client_ca {
            None => Ok(rustls::server::WebPkiClientVerifier::no_client_auth()),
            Some(ca) => ca.verifier(&provider),
        };
        let verifier = errors.keep(verifier);
        let Some(verifier) = verifier.filter(|_| errors.is_empty()) else { return Err(errors) };
        let certificates = Arc::new(Certificates::new(certificates));
        let config = config(provider, verifier, &certificates)
            .map_err(|error| ConfigErrors::from(ConfigError::new("tls", error.to_string())))?;
        Ok(Current { config: Arc::new(config), certificates })
    }
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    certificates: &Arc<Certificates>,
) -> Result<ServerConfig, rustls::Error> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(certificates) as Arc<_>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(config)
}

/// An I/O error about a file, in words.
fn unreadable(path: &std::path::Path, error: &io::Error) -> ConfigError {
    ConfigError::new(
        format!("tls file `{}`", path.display()),
        format!("it cannot be read: {error}"),
    )
}
