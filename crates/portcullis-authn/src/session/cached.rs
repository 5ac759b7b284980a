//! What a store has said, for a moment.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::record::{SessionDigest, SessionRecord};
use super::store::{SessionStore, StoreError, Touch};

/// A store before which stands what it has said in the last half second: a browser that asks often asks it seldom. Cheap to clone; clones share what is remembered.
///
/// What this process does to a session counts at once. What another one does counts here after half a second at most: a session that it has ended, and the id before a log-in. That a session is
/// not there is never remembered.
///
/// ```
/// # async fn sessions(store: impl portcullis_authn::SessionStore) -> portcullis_authn::Sessions {
/// use portcullis_authn::{CachedSessions, Sessions};
/// Sessions::new(CachedSessions::new(store))
/// # }
/// ```
#[derive(Clone)]
pub struct CachedSessions(Arc<Inner>);

struct Inner {
    store: Arc<dyn SessionStore>,
    life: Duration,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    known: HashMap<SessionDigest, Remembered>,
    /// Goes up whenever something is forgotten: what was asked for before that is not remembered after it.
    forgotten: u64,
}

struct Remembered {
    record: SessionRecord,
    until: SystemTime,
}

/// How long what a store says is good for where nobody says otherwise.
const LIFE: Duration = Duration::from_millis(500);
/// The longest that it may be: what has ended is over everywhere after a second.
const LONGEST: Duration = Duration::from_secs(1);
const SHARDS: usize = 16;
/// How many sessions each shard remembers.
const ROOM: usize = 4_096;

impl CachedSessions {
    /// Remembers what this store says for half a second.
    pub fn new(store: impl SessionStore) -> Self {
        Self::from_store(Arc::new(store))
    }
    /// The same for a store that others have too.
    pub fn from_store(store: Arc<dyn SessionStore>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { store, life: LIFE, shards }))
    }
    /// Remembers it for this long, and for a second at most. Say it before it is cloned.
    #[must_use]
    pub fn lasting(mut self, life: Duration) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.life = life.min(LONGEST);
        }
        self
    }
    fn shard(&self, id: &SessionDigest) -> Option<MutexGuard<'_, Shard>> {
        let [first, ..] = id.as_bytes();
        let shard = self.0.shards.get(usize::from(*first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn remembered(&self, id: &SessionDigest, touch: Touch) -> Option<SessionRecord> {
        let shard = self.shard(id)?;
        let known = shard.known.get(id)?;
        // A clock that was set back does not make it last.
        let left = known.until.duration_since(touch.now).ok()?;
        let is_fresh = !left.is_zero() && left <= self.0.life && touch.now < known.record.expires;
        is_fresh.then(|| known.record.clone())
    }
    fn forgotten(&self, id: &SessionDigest) -> u64 {
        self.shard(id).map_or(0, |shard| shard.forgotten)
    }
    /// Remembers what was asked for when so much had been forgotten.
    fn remember(&self, record: &SessionRecord, touch: Touch, forgotten: u64) {
        let now = touch.now;
        let mut record = record.clone();
        if touch.marks(record.used) {
            // As the store has it by now.
            record.used = now;
        }
        let Some(until) = now.checked_add(self.0.life) else { return };
        let Some(mut shard) = self.shard(&record.digest) else { return };
        if shard.forgotten != forgotten {
            return;
        }
        if shard.known.len() >= ROOM {
            shard.known.retain(|_, known| now < known.until);
            if shard.known.len() >= ROOM {
                // Whoever is forgotten is asked about again.
                shard.known.clear();
            }
        }
        shard.known.insert(record.digest, Remembered { record, until });
    }
    fn forget(&self, id: &SessionDigest) {
        if let Some(mut shard) = self.shard(id) {
            shard.known.remove(id);
            shard.forgotten += 1;
        }
    }
}

/// Forgets a session when it is dropped, also where nobody waits for the store any more, which may have done it.
struct Forgets<'a>(&'a CachedSessions, &'a SessionDigest);

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

#[async_trait]
impl SessionStore for CachedSessions {
    fn try_open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Option<Result<Option<SessionRecord>, StoreError>> {
        match self.remembered(id, touch) {
            Some(record) => Some(Ok(Some(record))),
            None => self.0.store.try_open(id, touch),
        }
    }
    async fn open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let forgotten = self.forgotten(id);
        let record = self.0.store.open(id, touch).await?;
        match &record {
            Some(record) => self.remember(record, touch, forgotten),
            None => self.forget(id),
        }
        Ok(record)
    }
    async fn create(&self, record: SessionRecord) -> Result<(), StoreError> {
        self.0.store.create(record).await
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps_data: bool,
    ) -> Result<bool, StoreError> {
        let _forgets = Forgets(self, id);
        self.0.store.replace(id, record, keeps_data).await
    }
    async fn write(
        &self,
        id: &SessionDigest,
        version: u64,
        data: &str,
    ) -> Result<bool, StoreError> {
        let _forgets = Forgets(self, id);
        self.0.store.write(id, version, data).await
    }
    async fn end(&self, id: &SessionDigest) -> Result<bool, StoreError> {
        let _forgets = Forgets(self, id);
        self.0.store.end(id).await
    }
    async fn list(&self, owner: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.0.store.list(owner).await
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Result<Vec<SessionDigest>, StoreError> {
        let ended = self.0.store.end_all(owner, but).await?;
        for id in &ended {
            self.forget(id);
        }
        Ok(ended)
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Result<Vec<SessionDigest>, StoreError> {
        let missing = self.0.store.missing(ids).await?;
        for id in &missing {
            self.forget(id);
        }
        Ok(missing)
    }
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Result<u64, StoreError> {
        self.0.store.sweep(now, unused_since).await
    }
}

impl fmt::Debug for CachedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSessions")
            .field("store", &self.0.store)
            .field("life", &self.0.life)
            .finish_non_exhaustive()
    }
}
