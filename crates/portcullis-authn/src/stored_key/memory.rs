//! Keys of one process.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{KeyRecord, KeyStore};
use crate::session::StoreError;

/// API keys in memory: for tests, and gone with the process. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct MemoryKeys(Arc<Mutex<HashMap<Arc<str>, KeyRecord>>>);

impl MemoryKeys {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, KeyRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn find(&self, digest: &[u8; 32]) -> Result<Option<KeyRecord>, StoreError> {
        let all = self.lock();
        let has = |key: &&KeyRecord| {
            key.digest == *digest || key.previous.is_some_and(|(before, _)| before == *digest)
        };
        Ok(all.values().find(has).cloned())
    }
    async fn add(&self, key: KeyRecord) -> Result<bool, StoreError> {
        let mut all = self.lock();
        if all.contains_key(&key.id) {
            return Ok(false);
        }
        all.insert(Arc::clone(&key.id), key);
        Ok(true)
    }
    async fn by_id(&self, id: &str) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.lock().get(id).cloned())
    }
    async fn list(&self, user: Option<&str>) -> Result<Vec<KeyRecord>, StoreError> {
        let all = self.lock();
        let own =
            all.values().filter(|key| user.is_none_or(|user| key.user.as_deref() == Some(user)));
        let mut own: Vec<_> = own.cloned().collect();
        drop(all);
        own.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        Ok(own)
    }
    async fn rotate(
        &self,
        id: &str,
        before: &[u8; 32],
        after: &[u8; 32],
        until: SystemTime,
    ) -> Result<bool, StoreError> {
        let mut all = self.lock();
        let Some(key) = all.get_mut(id).filter(|key| key.digest == *before) else {
            return Ok(false);
        };
        (key.digest, key.previous) = (*after, Some((*before, until)));
        Ok(true)
    }
    async fn end(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.lock().remove(id).is_some())
    }
    async fn mark(&self, id: &str, now: SystemTime) -> Result<(), StoreError> {
        if let Some(key) = self.lock().get_mut(id) {
            key.used = Some(now);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeys").field("len", &self.lock().len()).finish()
    }
}
