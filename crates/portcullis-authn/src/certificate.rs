//! Clients that are known by their certificate (mutual TLS).
use std::fmt;
use std::sync::Arc;

use portcullis_core::{ConfigError, Connection, Context, Identity, IdentityBuilder, IdentityKind};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

/// Whoever shows a certificate with one of these names, or this very certificate.
#[derive(Clone, Debug)]
pub struct CertificateHolder {
    id: Arc<str>,
    dns: Vec<String>,
    uri: Vec<String>,
    sha256: Vec<[u8; 32]>,
    identity: IdentityBuilder,
}

impl CertificateHolder {
    /// A holder with this name, for logs and limits.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        let id = id.into();
        let identity = Identity::builder(ClientCertificates::ISSUER, Arc::clone(&id));
        let identity = identity.kind(IdentityKind::Service).method("mtls");
        Self { id, dns: Vec::new(), uri: Vec::new(), sha256: Vec::new(), identity }
    }
    /// A DNS name among the alternative names of the certificate, letter for letter; wildcards are none.
    #[must_use]
    pub fn dns(mut self, name: impl Into<String>) -> Self {
        self.dns.push(name.into().to_ascii_lowercase());
        self
    }
    /// A URI among the alternative names of the certificate, letter for letter: `spiffe://shop.example/billing`.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri.push(uri.into());
        self
    }
    /// The SHA-256 digest of the certificate itself, in DER.
    #[must_use]
    pub fn sha256(mut self, digest: [u8; 32]) -> Self {
        self.sha256.push(digest);
        self
    }
    fn edit(self, edit: impl FnOnce(IdentityBuilder) -> IdentityBuilder) -> Self {
        Self { identity: edit(self.identity), ..self }
    }
    /// Adds a role. Default: none.
    #[must_use]
    pub fn role(self, role: impl Into<Arc<str>>) -> Self {
        self.edit(|identity| identity.role(role))
    }
    /// The tenant. Default: none.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<Arc<str>>) -> Self {
        self.edit(|identity| identity.tenant(tenant))
    }
}

/// The holders of certificates that are known. The server has verified the certificate, by `ClientCa` of `portcullis-server`; here it is found out whose it is.
///
/// A certificate that belongs to nobody here leaves its caller anonymous: it is what the connection has, and no word of the request. A
/// key or a token in the request goes before it.
#[derive(Clone, Default)]
pub struct ClientCertificates {
    holders: Vec<Known>,
    errors: Vec<ConfigError>,
}

#[derive(Clone)]
struct Known {
    dns: Vec<String>,
    uri: Vec<String>,
    sha256: Vec<[u8; 32]>,
    identity: Identity,
}

impl ClientCertificates {
    /// The issuer of identities that come from a certificate.
    pub const ISSUER: &str = "certificate";

    /// Nobody is known yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a holder. One with a name that another one has, or with none, opens nothing, and the stack that has it does not start.
    #[must_use]
    pub fn holder(mut self, holder: CertificateHolder) -> Self {
        let CertificateHolder { id, dns, uri, sha256, identity } = holder;
        let has = |other: &Known| {
            other.dns.iter().any(|name| dns.contains(name))
                || other.uri.iter().any(|name| uri.contains(name))
                || other.sha256.iter().any(|digest| sha256.contains(digest))
        };
        let mistake = if dns.is_empty() && uri.is_empty() && sha256.is_empty() {
            Some("it says no certificate: give a DNS name, a URI or a digest")
        } else if self.holders.iter().any(has) {
            Some("another holder has one of its names: nobody could say whose a certificate is")
        } else {
            None
        };
        match mistake {
            Some(mistake) => {
                self.errors.push(ConfigError::new(format!("certificate of `{id}`"), mistake));
            }
            None => self.holders.push(Known { dns, uri, sha256, identity: identity.build() }),
        }
        self
    }
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.holders.iter().map(|known| &known.identity)
    }
    /// Whose certificate the connection has. One with names of several holders is nobody's.
    pub(crate) fn identify(&self, connection: Option<&Connection>) -> Option<&Identity> {
        let der = connection?.tls()?.client_certificate()?;
        let digest = digest_of(der);
        let der = CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let is_theirs = |known: &&Known| {
            known.sha256.contains(&digest)
                || certificate
                    .valid_dns_names()
                    .any(|name| known.dns.contains(&name.to_ascii_lowercase()))
                || certificate.valid_uri_names().any(|name| known.uri.iter().any(|own| own == name))
        };
        let mut holders = self.holders.iter().filter(is_theirs);
        let holder = holders.next()?;
        holders.next().is_none().then_some(&holder.identity)
    }
}

/// The digest of the certificate of a request's connection.
pub(crate) fn digest_of_client(context: &Context) -> Option<[u8; 32]> {
    Some(digest_of(context.connection()?.tls()?.client_certificate()?))
}

fn digest_of(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates")
            .field("holders", &self.holders.len())
            .finish_non_exhaustive()
    }
}
