//! API keys that are given when the layer is built.
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::{ConfigError, Identity, IdentityBuilder, IdentityKind, Revocation, Secret};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The issuer of identities that come from an API key.
pub(crate) const ISSUER: &str = "api-key";

/// One API key and whom it stands for. Only its digest is kept.
#[derive(Clone)]
pub struct ApiKey {
    id: Arc<str>,
    digest: [u8; 32],
    identity: IdentityBuilder,
    /// What is wrong with the key, if anything.
    mistake: Option<&'static str>,
}

impl ApiKey {
    /// A key that stands for `id`, which names it in logs and limits.
    ///
    /// An empty key opens nothing. A stack that has one does not start, nor one whose key no header could carry, such as
    /// a key with the line break of the file it was read from.
    pub fn new(id: impl Into<Arc<str>>, key: impl Into<Secret<String>>) -> Self {
        let key = key.into();
        let text = key.expose();
        let mistake = if text.is_empty() {
            Some("the key is empty: is its variable set?")
        } else if text.trim() != text || text.chars().any(char::is_control) {
            Some(
                "the key has a line break, a space at its end or a control character, such as that of its file",
            )
        } else {
            None
        };
        Self { mistake, ..Self::from_sha256(id, Sha256::digest(text.as_bytes()).into()) }
    }
    /// A key of which only the SHA-256 digest is known.
    pub fn from_sha256(id: impl Into<Arc<str>>, digest: [u8; 32]) -> Self {
        let id = id.into();
        let identity = Identity::builder(ISSUER, Arc::clone(&id));
        let identity = identity.kind(IdentityKind::Key).method("api-key");
        Self { id, digest, identity, mistake: None }
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
    /// Tells when the key is no longer good: it is refused from then on, and what is still under way for it ends. Default: it
    /// stays good.
    #[must_use]
    pub fn revocation(self, revocation: Revocation) -> Self {
        self.edit(|identity| identity.revocation(revocation))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A set of API keys, and the header that carries them: `x-api-key` by default.
#[derive(Clone)]
pub struct ApiKeys {
    header: HeaderName,
    // By the first bytes of the digest: how long a look-up takes tells nothing about a key.
    by_prefix: HashMap<[u8; 8], Vec<([u8; 32], Identity)>>,
    errors: Vec<ConfigError>,
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiKeys {
    /// No keys, in `x-api-key`.
    pub fn new() -> Self {
        Self {
            header: HeaderName::from_static("x-api-key"),
            by_prefix: HashMap::new(),
            errors: Vec::new(),
        }
    }
    /// The header that carries the key. Default: `x-api-key`.
    #[must_use]
    pub fn header(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }
    /// Adds a key. One with a mistake opens nothing, and the stack that has it does not start.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        let ApiKey { id, digest, identity, mistake } = key;
        let known = self.by_prefix.entry(prefix(&digest)).or_default();
        let doubled = known.iter().any(|(other, _)| *other == digest);
        let mistake =
            mistake.or(doubled.then_some("another key is the same; give each caller its own"));
        match mistake {
            Some(mistake) => self.errors.push(ConfigError::new(format!("API key `{id}`"), mistake)),
            None => known.push((digest, identity.build())),
        }
        self
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }
    /// Goes on with what these keys replace: a key that was there already, for the same caller with the same rights, stays the same
    /// identity, and what is under way for it goes on.
    #[must_use]
    pub fn continuing(mut self, before: &Self) -> Self {
        for (digest, identity) in self.by_prefix.values_mut().flatten() {
            if let Some(known) = before.same(digest, identity) {
                *identity = known.clone();
            }
        }
        self
    }
    /// Ends what is under way for keys that `after` does not have, or has with other rights. It takes a
    /// [`revocation`](ApiKey::revocation) of each key.
    pub fn revoke_missing(&self, after: &Self) {
        for (digest, identity) in self.by_prefix.values().flatten() {
            if after.same(digest, identity).is_none() {
                identity.revocation().into_iter().for_each(Revocation::revoke);
            }
        }
    }
    /// The caller of this key, if it is this one.
    fn same(&self, digest: &[u8; 32], identity: &Identity) -> Option<&Identity> {
        let candidates = self.by_prefix.get(&prefix(digest))?;
        let found = candidates.iter().find(|(known, _)| known == digest).map(|(_, found)| found)?;
        let is_same = found.subject() == identity.subject()
            && found.tenant() == identity.tenant()
            && found.plan() == identity.plan()
            && found.roles().eq(identity.roles());
        is_same.then_some(found)
    }
    /// Whose keys they are.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.by_prefix.values().flatten().map(|(_, identity)| identity)
    }
    /// What is wrong with the keys; one with a mistake opens nothing.
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
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
            (Some(_), Some(_)) => Err("several keys".into()),
            (Some(key), None) => {
                self.find(key.as_bytes()).map(Some).ok_or_else(|| "an unknown key".into())
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

/// A credential that was sent and is not valid, and why: for the log.
#[derive(Clone, Debug)]
pub(crate) struct Invalid(pub(crate) Cow<'static, str>);

impl From<&'static str> for Invalid {
    fn from(why: &'static str) -> Self {
        Self(why.into())
    }
}

fn prefix(digest: &[u8; 32]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}
