//! Certificates and keys from PEM files.
use std::path::Path;
use std::sync::Arc;

use portcullis_core::{ConfigError, ConfigErrors};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{CertificateFiles, unreadable};

/// A certificate, and the names that it is shown for.
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
}

/// # Errors
/// All that is wrong with the files.
pub(super) fn read(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<Certificate, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    let chain = errors.keep(certificates(&files.chain));
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, &error, "a private key in PEM"));
    let (Some(chain), Some(key)) = (chain, errors.keep(key)) else { return Err(errors) };
    let names = if files.names.is_empty() {
        names_in(&files.chain, &chain)?
    } else {
        files.names.iter().map(|name| name.to_ascii_lowercase()).collect()
    };
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let place = format!("tls file `{}`", files.key.display());
        let message = format!("it does not belong to `{}`: {error}", files.chain.display());
        ConfigError::new(place, message)
    })?;
    Ok(Certificate { key: Arc::new(key), names })
}

/// All certificates of a file; there is one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error, "certificates in PEM"))?;
    if Vec::is_empty(&all) {
        return Err(unusable(path, &pem::Error::NoItemsFound, "certificates in PEM"));
    }
    Ok(all)
}

fn unusable(path: &Path, error: &pem::Error, wanted: &str) -> ConfigError {
    if let pem::Error::Io(error) = error {
        return unreadable(path, error);
    }
    let place = format!("tls file `{}`", path.display());
    ConfigError::new(place, format!("it must hold {wanted}: {error}"))
}

fn names_in(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Vec<String>, ConfigError> {
    let place = || format!("tls file `{}`", path.display());
    let Some(own) = chain.first() else { return Ok(Vec::new()) };
    let own = webpki::EndEntityCert::try_from(own).map_err(|error| {
        ConfigError::new(place(), format!("its first certificate is not valid: {error}"))
    })?;
    Ok(own.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
