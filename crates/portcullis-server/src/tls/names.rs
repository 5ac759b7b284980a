//! Which certificate a client is shown, and for which hosts its connection is good.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Request;
use http::header::HOST;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::Certificate;

/// Finds certificates by name. The first is for everybody who names nobody that is known.
pub(crate) struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
    by_name: HashMap<String, usize>,
}

impl Certificates {
    pub(super) fn new(certificates: Vec<Certificate>) -> Self {
        let mut by_name = HashMap::new();
        let mut keys = Vec::new();
        for (at, certificate) in certificates.into_iter().enumerate() {
            for name in certificate.names {
                // Of several the first holds, as it does for those who name nobody.
                by_name.entry(name).or_insert(at);
            }
            keys.push(certificate.key);
        }
        Self { keys, by_name }
    }
    /// Which certificate is shown for this name.
    fn find(&self, name: &str) -> usize {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(&name).or_else(wildcard).copied().unwrap_or(0)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let at = hello.server_name().map_or(0, |name| self.find(name));
        self.keys.get(at).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.by_name).finish()
    }
}

/// The hosts that a connection is good for: those that are shown the certificate which its client was shown. A browser may
/// ask for any of them on one connection (RFC 9113, section 9.1.1); everything else is misdirected.
pub(crate) struct Names {
    certificates: Arc<Certificates>,
    asked: Box<str>,
    shown: usize,
}

impl Names {
    /// `name` is what the client asked for. None where there is only one certificate.
    pub(crate) fn of(certificates: &Arc<Certificates>, name: &str) -> Option<Self> {
        (certificates.keys.len() > 1).then(|| Self {
            shown: certificates.find(name),
            asked: name.into(),
            certificates: Arc::clone(certificates),
        })
    }
    /// Whether the request is for one of the hosts.
    pub(crate) fn cover<B>(&self, request: &Request<B>) -> bool {
        let header = || request.headers().get(HOST)?.to_str().ok();
        let authority = request.uri().authority().map(http::uri::Authority::as_str).or_else(header);
        let Some(authority) = authority else { return true };
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        host.eq_ignore_ascii_case(&self.asked) || self.certificates.find(host) == self.shown
    }
}
