//! API keys that are given when the layer is built.
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::{
    ConfigError, Identity, IdentityBuilder, IdentityKind, Revocation, Secret, is_scope,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::new_key::NewApiKey;
use crate::stored_key::{FoundKey, KeyLook, StoredKeys};

/// One API key and whom it stands for. Only its digest is kept.
#[derive(Clone)]
pub struct ApiKey {
    id: Arc<str>,
    digest: [u8; 32],
    identity: IdentityBuilder,
    expires: Option<SystemTime>,
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
        let identity = Identity::builder(ApiKeys::ISSUER, Arc::clone(&id));
        let identity = identity.kind(IdentityKind::Key).method("api-key");
        Self { id, digest, identity, expires: None, mistake: None }
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
    /// Adds a scope. Default: none.
    #[must_use]
    pub fn scope(self, scope: impl Into<Arc<str>>) -> Self {
        let scope = scope.into();
        let mistake = (!is_scope(&scope))
            .then_some("a scope of it is none: a word of printable ASCII without `\"` and `\\`");
        let mistake = self.mistake.or(mistake);
        Self { mistake, ..self.edit(|identity| identity.scopes([scope])) }
    }
    /// Until when it is good. Default: for ever.
    ///
    /// To change a key without a gap, give its caller a new one with the same `id`, and let the old one expire a while later.
    #[must_use]
    pub fn expires(self, time: SystemTime) -> Self {
        Self { expires: Some(time), ..self }
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

/// A key as it is known.
#[derive(Clone)]
struct Known {
    digest: [u8; 32],
    identity: Identity,
    expires: Option<SystemTime>,
    /// When it was used for the last time, in seconds since 1970; 0 is never.
    used: Arc<AtomicU64>,
}

/// A set of API keys, and the header that carries them: `x-api-key` by default.
#[derive(Clone)]
pub struct ApiKeys {
    header: HeaderName,
    basic: bool,
    // By the first bytes of the digest: how long a look-up takes tells nothing about a key.
    by_prefix: HashMap<[u8; 8], Vec<Known>>,
    stored: Option<StoredKeys>,
    errors: Vec<ConfigError>,
}

/// Whose key it is.
pub(crate) enum KeyVerdict {
    Nobody,
    Known(Identity),
    /// It is found out when this is over.
    Look(KeyLook),
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiKeys {
    /// The issuer of identities that come from an API key.
    pub const ISSUER: &str = "api-key";

    /// No keys, in `x-api-key`.
    pub fn new() -> Self {
        Self {
            header: HeaderName::from_static("x-api-key"),
            basic: false,
            by_prefix: HashMap::new(),
            stored: None,
            errors: Vec::new(),
        }
    }
    /// The header that carries the key. Default: `x-api-key`.
    #[must_use]
    pub fn header(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }
    /// Accepts keys by `Authorization: Basic` too (RFC 7617), with the caller's id for a name and the key for a password: for machines that can
    /// send nothing else. Default: not, since browsers ask their users for a name where it is offered.
    #[must_use]
    pub fn basic(self) -> Self {
        Self { basic: true, ..self }
    }
    /// Adds a key. One with a mistake opens nothing, and the stack that has it does not start.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        let ApiKey { id, digest, identity, expires, mistake } = key;
        let known = self.by_prefix.entry(prefix(&digest)).or_default();
        let doubled = known.iter().any(|other| other.digest == digest);
        let mistake =
            mistake.or(doubled.then_some("another key is the same; give each caller its own"));
        if let Some(mistake) = mistake {
            self.errors.push(ConfigError::new(format!("API key `{id}`"), mistake));
        } else {
            let (identity, used) = (identity.build(), Arc::default());
            known.push(Known { digest, identity, expires, used });
        }
        self
    }
    /// Takes the keys of a store too, in place of those of any that was named before.
    #[must_use]
    pub fn stored(self, keys: StoredKeys) -> Self {
        Self { stored: Some(keys), ..self }
    }
    /// Whether there is none, and no store that could have one.
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty() && self.stored.is_none()
    }
    /// Goes on with what these keys replace: a key that was there already, for the same caller with the same rights, stays the same
    /// identity, and what is under way for it goes on.
    #[must_use]
    pub fn continuing(mut self, before: &Self) -> Self {
        for known in self.by_prefix.values_mut().flatten() {
            if let Some(same) = before.same(known) {
                (known.identity, known.used) = (same.identity.clone(), Arc::clone(&same.used));
            }
        }
        self
    }
    /// Takes the keys of the store that these have, in place of its own.
    #[must_use]
    pub fn stored_as(self, other: &Self) -> Self {
        Self { stored: other.stored.clone(), ..self }
    }
    /// Ends what is under way for keys that `after` does not have, or has with other rights. It takes a
    /// [`revocation`](ApiKey::revocation) of each key.
    pub fn revoke_missing(&self, after: &Self) {
        for known in self.by_prefix.values().flatten() {
            if after.same(known).is_none() {
                known.identity.revocation().into_iter().for_each(Revocation::revoke);
            }
        }
    }
    /// The same key for the same caller, with the same rights.
    fn same(&self, other: &Known) -> Option<&Known> {
        let candidates = self.by_prefix.get(&prefix(&other.digest))?;
        let found = candidates.iter().find(|known| known.digest == other.digest)?;
        let (one, identity) = (&found.identity, &other.identity);
        let is_same = one.subject() == identity.subject()
            && one.tenant() == identity.tenant()
            && one.plan() == identity.plan()
            && one.roles().eq(identity.roles())
            && one.scopes().eq(identity.scopes());
        is_same.then_some(found)
    }
    /// When the keys of this caller were used for the last time: `None` for never. To the second.
    pub fn last_used(&self, id: &str) -> Option<SystemTime> {
        let own = self.by_prefix.values().flatten().filter(|known| known.identity.subject() == id);
        let last =
            own.map(|known| known.used.load(Relaxed)).max().filter(|seconds| *seconds > 0)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(last))
    }
    /// Whose keys they are.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.by_prefix.values().flatten().map(|known| &known.identity)
    }
    /// What is wrong with the keys; one with a mistake opens nothing.
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
    pub(crate) fn header_name(&self) -> &HeaderName {
        &self.header
    }
    pub(crate) fn challenges(&self) -> Vec<HeaderValue> {
        let text = format!("ApiKey header=\"{}\"", self.header);
        let key = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("ApiKey"));
        let basic = HeaderValue::from_static("Basic realm=\"api\", charset=\"UTF-8\"");
        if self.basic { vec![key, basic] } else { vec![key] }
    }
    /// Whether the headers carry a name and a key that are for us.
    pub(crate) fn is_basic_in(&self, headers: &HeaderMap) -> bool {
        self.basic && headers.get_all(AUTHORIZATION).iter().any(|line| basic_of(line).is_some())
    }
    /// Whose key the headers carry; an error for a key that nobody owns or that is over, or for two. What was looked up in the store comes with it the second time.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
        looked: Option<Result<FoundKey, Invalid>>,
    ) -> Result<KeyVerdict, Invalid> {
        let mut lines = headers.get_all(&self.header).iter();
        let basic = headers.get_all(AUTHORIZATION).iter().filter(|_| self.basic);
        let mut basic = basic.filter_map(basic_of);
        let decoded;
        let (name, key) = match (lines.next(), lines.next(), basic.next(), basic.next()) {
            (None, _, None, _) => return Ok(KeyVerdict::Nobody),
            (Some(key), None, None, _) => (None, key.as_bytes()),
            (None, _, Some(encoded), None) => {
                decoded =
                    STANDARD.decode(encoded).map_err(|_| "a name and a key that are no Base64")?;
                let colon = decoded.iter().position(|byte| *byte == b':');
                let colon = colon.ok_or("a name without a key")?;
                let (name, key) = decoded.split_at_checked(colon).unwrap_or_default();
                (Some(name), key.get(1..).unwrap_or_default())
            }
            _ => return Err("several keys".into()),
        };
        let is_named = |id: &str| name.is_none_or(|name| name == id.as_bytes());
        if let Some(found) = looked {
            let found = found?;
            let named = is_named(&found.id).then_some(found.identity);
            return named.map(KeyVerdict::Known).ok_or_else(|| "a key of another name".into());
        }
        let digest: [u8; 32] = Sha256::digest(key).into();
        let Some(known) = self.find(&digest) else {
            // What was not made here need not be asked about.
            let is_one = std::str::from_utf8(key).is_ok_and(NewApiKey::is_one);
            let stored = self.stored.as_ref().filter(|_| is_one).ok_or("an unknown key")?;
            return Ok(KeyVerdict::Look(stored.look(digest, now)));
        };
        if !is_named(known.identity.subject()) {
            return Err("a key of another name".into());
        }
        if known.expires.is_some_and(|expires| now >= expires) {
            return Err("a key that is over".into());
        }
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if known.used.load(Relaxed) != seconds {
            known.used.store(seconds, Relaxed);
        }
        Ok(KeyVerdict::Known(known.identity.clone()))
    }
    fn find(&self, digest: &[u8; 32]) -> Option<&Known> {
        let candidates = self.by_prefix.get(&prefix(digest))?;
        // Every candidate is compared, and in full.
        candidates.iter().fold(None, |found, known| {
            if bool::from(known.digest.ct_eq(digest)) { Some(known) } else { found }
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

/// What stands behind `Basic`, in any case. `None` for another scheme.
fn basic_of(line: &HeaderValue) -> Option<&[u8]> {
    let (scheme, encoded) = line.as_bytes().trim_ascii_start().split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| encoded.trim_ascii())
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
