//! Where sessions are.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_core::BoxError;

use super::record::{SessionDigest, SessionRecord};

/// A store that cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("a store cannot answer: {0}")]
pub struct StoreError(#[from] pub BoxError);

/// How a session is marked as used when it is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Touch {
    /// The time now.
    pub now: SystemTime,
    /// It is marked when this much has gone by since the last time, and otherwise left alone.
    pub step: Duration,
    /// It is left alone when it was not used for this long: it is over.
    pub idle: Duration,
}

impl Touch {
    /// At this time.
    pub fn new(now: SystemTime, step: Duration, idle: Duration) -> Self {
        Self { now, step, idle }
    }
    /// Whether a session that was used then is to be marked.
    pub fn marks(&self, used: SystemTime) -> bool {
        let since = self.now.duration_since(used).unwrap_or_default();
        since >= self.step && since < self.idle
    }
}

/// Where sessions are. Every change is atomic, also among replicas: of two that exclude each other one is made.
///
/// A store keeps no session longer than to its `expires`, and need not look at how long one has been idle. The contract tests of
/// `portcullis-testkit` hold it to what is said here.
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// The same as [`open`](Self::open) where the answer is at hand, without waiting; `None` where it is not. Default: it is not.
    fn try_open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Option<Result<Option<SessionRecord>, StoreError>> {
        let _ = (id, touch);
        None
    }
    /// A session, which is marked as used.
    async fn open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Result<Option<SessionRecord>, StoreError>;
    /// Adds a session.
    async fn create(&self, record: SessionRecord) -> Result<(), StoreError>;
    /// Puts a session in the place of another one, which is gone then: a new id, another identity. `false` where that one is not there. With `keeps_data` what the
    /// application keeps, and its version, are those that the other one has then, and otherwise those of `record`.
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps_data: bool,
    ) -> Result<bool, StoreError>;
    /// Changes what the application keeps, where it is still that of this version; the version goes up by one. `false` where it is not.
    async fn write(&self, id: &SessionDigest, version: u64, data: &str)
    -> Result<bool, StoreError>;
    /// Ends a session. `false` where it is not there.
    async fn end(&self, id: &SessionDigest) -> Result<bool, StoreError>;
    /// The sessions of an owner, the one that was used last first.
    async fn list(&self, owner: &str) -> Result<Vec<SessionRecord>, StoreError>;
    /// Ends all sessions of an owner but one, and says which they were.
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Result<Vec<SessionDigest>, StoreError>;
    /// Which of these sessions are not there.
    async fn missing(&self, ids: &[SessionDigest]) -> Result<Vec<SessionDigest>, StoreError>;
    /// Takes away what is over, and what was not used since then.
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Result<u64, StoreError>;
}

/// Sessions in memory: those of one process, gone with it. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct MemorySessions(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    sessions: HashMap<SessionDigest, SessionRecord>,
    /// How many there may be before somebody looks for those that are over.
    sweep_at: usize,
}

/// Below this nobody looks.
const FEW: usize = 1_000;

impl MemorySessions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn opened(&self, id: &SessionDigest, touch: Touch) -> Option<SessionRecord> {
        let mut kept = self.lock();
        let record = kept.sessions.get_mut(id)?;
        if touch.now >= record.expires {
            kept.sessions.remove(id);
            return None;
        }
        let before = record.clone();
        if touch.marks(record.used) {
            record.used = touch.now;
        }
        Some(before)
    }
}

impl Kept {
    fn add(&mut self, record: SessionRecord) {
        if self.sessions.len() >= self.sweep_at.max(FEW) {
            let now = record.used;
            self.sessions.retain(|_, known| now < known.expires);
            self.sweep_at = self.sessions.len() * 2;
        }
        self.sessions.insert(record.digest, record);
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    fn try_open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Option<Result<Option<SessionRecord>, StoreError>> {
        Some(Ok(self.opened(id, touch)))
    }
    async fn open(
        &self,
        id: &SessionDigest,
        touch: Touch,
    ) -> Result<Option<SessionRecord>, StoreError> {
        Ok(self.opened(id, touch))
    }
    async fn create(&self, record: SessionRecord) -> Result<(), StoreError> {
        self.lock().add(record);
        Ok(())
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        mut record: SessionRecord,
        keeps_data: bool,
    ) -> Result<bool, StoreError> {
        let mut kept = self.lock();
        let Some(before) = kept.sessions.remove(id) else { return Ok(false) };
        if keeps_data {
            (record.data, record.version) = (before.data, before.version);
        }
        kept.add(record);
        Ok(true)
    }
    async fn write(
        &self,
        id: &SessionDigest,
        version: u64,
        data: &str,
    ) -> Result<bool, StoreError> {
        let mut kept = self.lock();
        let record = kept.sessions.get_mut(id).filter(|record| record.version == version);
        let Some(record) = record else { return Ok(false) };
        (record.data, record.version) = (data.into(), version + 1);
        Ok(true)
    }
    async fn end(&self, id: &SessionDigest) -> Result<bool, StoreError> {
        Ok(self.lock().sessions.remove(id).is_some())
    }
    async fn list(&self, owner: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let kept = self.lock();
        let own = kept.sessions.values().filter(|record| record.owner().as_deref() == Some(owner));
        let mut own: Vec<_> = own.cloned().collect();
        drop(kept);
        own.sort_by_key(|record| (std::cmp::Reverse(record.used), record.digest));
        Ok(own)
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Result<Vec<SessionDigest>, StoreError> {
        let mut kept = self.lock();
        let is_theirs = |record: &SessionRecord| {
            record.owner().as_deref() == Some(owner) && Some(&record.digest) != but
        };
        let ended = kept.sessions.extract_if(|_, record| is_theirs(record));
        Ok(ended.map(|(digest, _)| digest).collect())
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Result<Vec<SessionDigest>, StoreError> {
        let kept = self.lock();
        Ok(ids.iter().filter(|id| !kept.sessions.contains_key(*id)).copied().collect())
    }
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Result<u64, StoreError> {
        let mut kept = self.lock();
        let before = kept.sessions.len();
        let is_over = |it: &SessionRecord| now >= it.expires || it.used <= unused_since;
        kept.sessions.retain(|_, record| !is_over(record));
        Ok(u64::try_from(before - kept.sessions.len()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").field("len", &self.len()).finish()
    }
}
