//! API keys that are made and ended while everything runs.
mod memory;
mod scheme;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_core::Identity;

pub use self::memory::MemoryKeys;
pub use self::scheme::StoredKeys;
pub(crate) use self::scheme::{FoundKey, KeyLook};
use crate::session::StoreError;

/// An API key as a store keeps it.
#[derive(Clone)]
#[non_exhaustive]
pub struct KeyRecord {
    /// What the key is called, in lists and logs. It opens nothing, and stays the same when the key is changed.
    pub id: Arc<str>,
    /// The SHA-256 of the key.
    pub digest: [u8; 32],
    /// That of the key before, and until when it is good too.
    pub previous: Option<([u8; 32], SystemTime)>,
    /// The user who has made it and for whom it acts; `None` for a key of a machine.
    pub user: Option<Arc<str>>,
    /// Whom the key stands for. For the key of a user: who they were when it was made.
    pub identity: Identity,
    /// What its owner calls it.
    pub label: Arc<str>,
    /// When it was made.
    pub created: SystemTime,
    /// Until when it is good; `None` for as long as nobody ends it.
    pub expires: Option<SystemTime>,
    /// When it was used for the last time, to the minute or so.
    pub used: Option<SystemTime>,
}

impl KeyRecord {
    /// How long the text of a key is good that has got another one.
    pub const OVERLAP: Duration = Duration::from_secs(86_400);

    /// A key of a machine that is good until somebody ends it.
    pub fn new(
        id: impl Into<Arc<str>>,
        digest: [u8; 32],
        identity: Identity,
        created: SystemTime,
    ) -> Self {
        Self {
            id: id.into(),
            digest,
            previous: None,
            user: None,
            identity,
            label: "".into(),
            created,
            expires: None,
            used: None,
        }
    }
    /// Whether this is the digest of a key that is good at this time.
    pub fn is_good(&self, digest: &[u8; 32], now: SystemTime) -> bool {
        use subtle::ConstantTimeEq;
        let is_current = bool::from(self.digest.ct_eq(digest));
        let is_previous = self
            .previous
            .is_some_and(|(previous, until)| now < until && bool::from(previous.ct_eq(digest)));
        (is_current || is_previous) && self.expires.is_none_or(|expires| now < expires)
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Where API keys are. Every change is atomic, also among replicas.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// The key that has this digest, or had it before; whether it is [good](KeyRecord::is_good) is for the caller to say.
    async fn find(&self, digest: &[u8; 32]) -> Result<Option<KeyRecord>, StoreError>;
    /// Adds a key. `false` where there is one of this id.
    async fn add(&self, key: KeyRecord) -> Result<bool, StoreError>;
    /// The key of this id.
    async fn by_id(&self, id: &str) -> Result<Option<KeyRecord>, StoreError>;
    /// The keys of a user, or all, by the time they were made.
    async fn list(&self, user: Option<&str>) -> Result<Vec<KeyRecord>, StoreError>;
    /// Puts a digest in the place of another one, which is good until then. `false` where the key has another one, or is not there.
    async fn rotate(
        &self,
        id: &str,
        before: &[u8; 32],
        after: &[u8; 32],
        until: SystemTime,
    ) -> Result<bool, StoreError>;
    /// Ends a key. `false` where there is none.
    async fn end(&self, id: &str) -> Result<bool, StoreError>;
    /// Marks a key as used.
    async fn mark(&self, id: &str, now: SystemTime) -> Result<(), StoreError>;
}
