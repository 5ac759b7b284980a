//! API keys that are given when the layer is built.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::{Identity, IdentityBuilder, IdentityKind, Secret};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The issuer of identities that come from an API key.
pub(crate) const ISSUER: &str = "api-key";

/// One API key and whom it stands for. Only its digest is kept.
#[derive(Clone, Debug)]
pub struct ApiKey {
    digest: [u8; 32],
    identity: IdentityBuilder,
}

impl ApiKey {
    /// A key that stands for `id`, which names it in logs and limits.
    pub fn new(id: impl Into<Arc<str>>, key: &Secret<String>) -> Self {
        Self::from_sha256(id, Sha256::digest(key.expose().as_bytes()).into())
    }
    /// A key of which only the SHA-256 digest is known.
    pub fn from_sha256(id: impl Into<Arc<str>>, digest: [u8; 32]) -> Self {
        Self {
            digest,
            identity: Identity::builder(ISSUER, id).kind(IdentityKind::Key).method("api-key"),
        }
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
    /// The plan that its limits follow. Default: none.
    #[must_use]
    pub fn plan(self, plan: impl Into<Arc<str>>) -> Self {
        self.edit(|identity| identity.plan(plan))
    }
}

/// A set of API keys, and the header that carries them: `x-api-key` by default.
#[derive(Clone)]
pub struct ApiKeys {
    header: HeaderName,
    // By the first bytes of the digest: how long a look-up takes tells nothing about a key.
    by_prefix: HashMap<[u8; 8], Vec<([u8; 32], Identity)>>,
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiKeys {
    /// No keys, in `x-api-key`.
    pub fn new() -> Self {
        Self { header: HeaderName::from_static("x-api-key"), by_prefix: HashMap::new() }
    }
    /// The header that carries the key. Default: `x-api-key`.
    #[must_use]
    pub fn header(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }
    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        let ApiKey { digest, identity } = key;
        self.by_prefix.entry(prefix(&digest)).or_default().push((digest, identity.build()));
        self
    }
    pub(crate) fn header_name(&self) -> &HeaderName {
        &self.header
    }
    pub(crate) fn challenge(&self) -> HeaderValue {
        let text = format!("ApiKey header=\"{}\"", self.header);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("ApiKey"))
    }
    /// Whose key the headers carry: `None` without a key, an error for a key that nobody owns, or for two.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Option<&Identity>, Invalid> {
        let mut lines = headers.get_all(&self.header).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Invalid("several keys")),
            (Some(key), None) => {
                self.find(key.as_bytes()).map(Some).ok_or(Invalid("an unknown key"))
            }
        }
    }
    fn find(&self, key: &[u8]) -> Option<&Identity> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let candidates = self.by_prefix.get(&prefix(&digest))?;
        // Every candidate is compared, and in full.
        candidates.iter().fold(None, |found, (known, identity)| {
            if bool::from(known.ct_eq(&digest)) { Some(identity) } else { found }
        })
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.by_prefix.values().map(Vec::len).sum::<usize>();
        f.debug_struct("ApiKeys")
            .field("header", &self.header)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// A credential that was sent and is not valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invalid(pub(crate) &'static str);

fn prefix(digest: &[u8; 32]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}
