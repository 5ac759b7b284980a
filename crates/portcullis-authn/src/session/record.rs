//! What is known of a session, and by what it is known.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::Identity;

use crate::secret_id::SecretId;

/// What a store knows a session by: the SHA-256 of its id. Whoever reads a store cannot make cookies of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    pub(super) fn of(id: &SecretId) -> Self {
        Self(id.digest())
    }
    /// A digest that a store has kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// What a store keeps.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// What the session is called in lists, for its owner and in logs: it opens nothing.
    pub fn name(&self) -> String {
        let first = self.0.get(..12).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(first)
    }
}

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionDigest").field(&self.name()).finish()
    }
}

/// A session as a store keeps it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionRecord {
    /// What it is known by.
    pub digest: SessionDigest,
    /// Whose it is; nobody's, before somebody has logged in.
    pub identity: Option<Identity>,
    /// When it began.
    pub created: SystemTime,
    /// When it was used for the last time, to the minute or so.
    pub used: SystemTime,
    /// When it ends, however much it is used.
    pub expires: SystemTime,
    /// What the application keeps in it: JSON.
    pub data: Arc<str>,
    /// Goes up with each change of `data`.
    pub version: u64,
    /// What its browser calls itself.
    pub agent: Option<Arc<str>>,
}

impl SessionRecord {
    /// A session without data.
    pub fn new(digest: SessionDigest, created: SystemTime, expires: SystemTime) -> Self {
        let (used, data) = (created, Arc::from(""));
        Self { digest, identity: None, created, used, expires, data, version: 0, agent: None }
    }
    /// Whose it is, by the one key of an identity.
    pub fn owner(&self) -> Option<String> {
        self.identity.as_ref().map(|identity| identity.key().to_string())
    }
}
