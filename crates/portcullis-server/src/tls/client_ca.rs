//! Which clients may connect: mutual TLS.
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::ConfigError;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::files::certificates;

/// Who vouches for clients (mutual TLS). The verified certificate is in the request's `Connection`.
#[derive(Clone, Debug)]
pub struct ClientCa {
    file: PathBuf,
    optional: bool,
}

impl ClientCa {
    /// Every client must have a certificate that one of the authorities in this PEM file signed.
    pub fn required(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), optional: false }
    }
    /// A client may have a certificate; one that it shows must be good.
    pub fn optional(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), optional: true }
    }

    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let wrong = |error: &dyn std::fmt::Display| {
            let place = format!("tls file `{}`", self.file.display());
            ConfigError::new(place, format!("it must hold certificate authorities: {error}"))
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.file)? {
            roots.add(authority).map_err(|error| wrong(&error))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = if self.optional { verifier.allow_unauthenticated() } else { verifier };
        verifier.build().map_err(|error| wrong(&error))
    }
}
