//! What is known of a session, and by what it is known.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::{Identity, Secret};

/// What a store knows a session by: the SHA-256 of its id. Whoever reads a store cannot make cookies of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
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

/// The id of a session, which its browser alone knows: 256 bits.
#[derive(Clone, Debug)]
pub(super) struct SessionId(Secret<String>);

/// How long an id is, as text.
const LENGTH: usize = 43;

impl SessionId {
    /// A new one; `None` where there is no chance to be had.
    pub(super) fn new() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(Secret::new(URL_SAFE_NO_PAD.encode(bytes))))
    }
    /// The id of a cookie, if it can be one.
    pub(super) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == LENGTH && URL_SAFE_NO_PAD.decode(text).is_ok();
        fits.then(|| Self(Secret::new(text.to_owned())))
    }
    pub(super) fn digest(&self) -> SessionDigest {
        let digest = digest(&SHA256, self.0.expose().as_bytes());
        SessionDigest(digest.as_ref().try_into().unwrap_or_default())
    }
    pub(super) fn text(&self) -> &str {
        self.0.expose()
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
