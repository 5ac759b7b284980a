//! Cache-aside: values that application code loads where the cache does not have them.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::quality::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::policy::Stored;
use crate::store::{CacheStoreError, Entry, Found, Mark, StoredBody};
use crate::{CacheHandle, Key};

impl CacheHandle {
    /// The value of a key, which is loaded where it is not there: by one caller for all who want it at the same time.
    ///
    /// It is kept as JSON for `ttl`, and until a [purge](Self::purge) of one of its tags, or [`forget`](Self::forget). A purge also covers a value that is being loaded: whoever asks after
    /// the purge does not get what was loaded for those who asked before it. Two types under one key are never taken for each other where their JSON differs; give each its own key all the same.
    ///
    /// The cache never fails: a store that cannot answer, or that holds something else, means that the value is loaded. Nor does it keep what could not be loaded.
    ///
    /// Whoever loads a value that asks for the same key waits for itself.
    ///
    /// # Cancellation
    /// When the future that loads is dropped, another caller that waits loads in its place.
    ///
    /// # Errors
    /// Those of `load`, for whoever has called it. Those who waited for it load anew, each for themselves and all at once.
    pub async fn get_or_load<T, E, F, L>(
        &self,
        key: &str,
        ttl: Duration,
        tags: &[&str],
        load: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> L,
        L: Future<Output = Result<T, E>>,
    {
        let key = Key::value(key);
        if let Looked::Value(value) = self.look(&key, ttl).await {
            return Ok(value);
        }
        let seat = self.loads.join(&key);
        let arrived = seat.load.begun.load(Ordering::Acquire);
        let failed = seat.load.failed.load(Ordering::Acquire);
        let mut turn = seat.load.turn.lock().await;
        if seat.load.failed.load(Ordering::Acquire) != failed {
            // What this caller waited for could not be loaded: they do not try one after the other.
            drop(turn);
            return load().await;
        }
        if let Some(value) = turn.as_ref().and_then(|loaded| self.share(&key, ttl, loaded, arrived))
        {
            return Ok(value);
        }
        // Between the first look and this turn another may have come and gone.
        let mark = match self.look(&key, ttl).await {
            Looked::Value(value) => return Ok(value),
            Looked::Nothing(mark) => mark,
        };
        *turn = None;
        let number = seat.load.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let asked = self.now();
        let value = match load().await {
            Ok(value) => value,
            Err(error) => {
                seat.load.failed.fetch_add(1, Ordering::AcqRel);
                return Err(error);
            }
        };
        let Ok(body) = serde_json::to_vec(&value) else {
            tracing::debug!("a value that is no JSON is not kept");
            return Ok(value);
        };
        let (head, body) = (Arc::new(Stored::value(ttl, tags, asked)), Bytes::from(body));
        *turn = Some(Loaded { head: Arc::clone(&head), body: body.clone(), mark, number });
        // Whoever waits need not wait until it is stored.
        drop(turn);
        if let Some(mark) = mark
            && let Err(error) = self.keep(&key, &head, body, mark).await
        {
            tracing::debug!(%error, "a value is not kept");
        }
        Ok(value)
    }

    /// What another has loaded, where it is as good as what would be loaded now.
    fn share<T: DeserializeOwned>(
        &self,
        key: &Key,
        ttl: Duration,
        loaded: &Loaded,
        arrived: u64,
    ) -> Option<T> {
        let purged = |mark| self.store.purged_since(mark, key, &loaded.head);
        // A load that has begun since this caller came has seen all that the caller may want to see, whatever was purged in the meantime.
        let is_ours = loaded.number > arrived;
        let is_good = is_ours || loaded.mark.is_some_and(|mark| !purged(mark));
        if !is_good || !loaded.head.is_good_value(ttl, self.now()) {
            return None;
        }
        serde_json::from_slice(&loaded.body).ok()
    }

    async fn look<T: DeserializeOwned>(&self, key: &Key, ttl: Duration) -> Looked<T> {
        let found = match self.store.find_now(key) {
            Some(found) => Ok(found),
            None => self.store.find(key).await,
        };
        let Found { entries, mark } = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a value cannot be looked up");
                return Looked::Nothing(None);
            }
        };
        let now = self.now();
        let is_good = |entry: &&Entry| !entry.is_stale && entry.head.is_good_value(ttl, now);
        let Some(entry) = entries.iter().find(is_good) else { return Looked::Nothing(Some(mark)) };
        match read(&entry.body).await {
            Ok(body) => match serde_json::from_slice(&body) {
                Ok(value) => return Looked::Value(value),
                Err(error) => tracing::debug!(%error, "a value is none of this type"),
            },
            Err(error) => tracing::debug!(%error, "a value cannot be read"),
        }
        Looked::Nothing(Some(mark))
    }

    async fn keep(
        &self,
        key: &Key,
        head: &Arc<Stored>,
        body: Bytes,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        let sizes = self.store.sizes();
        let len = body.len() as u64;
        match self.store.writer(key, head, mark) {
            Some(mut writer) if len <= sizes.streamed => {
                writer.push(body).await?;
                writer.finish().await
            }
            None if len <= sizes.whole => {
                self.store.put_now(key, head, &Arc::from([body]), mark);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of a body, in one piece.
async fn read(body: &StoredBody) -> Result<Bytes, CacheStoreError> {
    Ok(match &*body.all().await? {
        [piece] => piece.clone(),
        pieces => pieces.concat().into(),
    })
}

/// What a look-up has found: a value, or how far purges had got, where the store can tell.
enum Looked<T> {
    Value(T),
    Nothing(Option<Mark>),
}

/// What is being loaded.
#[derive(Clone, Default)]
pub(crate) struct Loads(Arc<SyncMutex<Table>>);

type Table = HashMap<Box<[u8]>, Arc<Load>, RandomState>;

/// All who want one key.
#[derive(Default)]
struct Load {
    /// How many loads have begun.
    begun: AtomicU64,
    /// How many have failed.
    failed: AtomicU64,
    /// Whoever has the turn loads. What was loaded last is there for those who wait.
    turn: Mutex<Option<Loaded>>,
}

struct Loaded {
    head: Arc<Stored>,
    body: Bytes,
    /// How far purges had got before it was loaded.
    mark: Option<Mark>,
    /// The load that has brought it.
    number: u64,
}

/// A place among those who want one key. The last to leave takes the key out.
struct Seat<'a> {
    loads: &'a Loads,
    key: &'a Key,
    load: Arc<Load>,
}

impl Loads {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn join<'a>(&'a self, key: &'a Key) -> Seat<'a> {
        let load = Arc::clone(self.lock().entry(key.as_bytes().into()).or_default());
        Seat { loads: self, key, load }
    }
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut table = self.loads.lock();
        // The table has one, and this is the other: nobody can come while it is locked.
        if Arc::strong_count(&self.load) == 2 {
            table.remove(self.key.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn nothing_is_left_of_loads_that_are_over() {
        let cache = CacheHandle::new(Arc::new(Memory::new(1 << 20)));
        let minute = Duration::from_secs(60);
        let mut given_up = Box::pin(cache.get_or_load("b", minute, &[], pending::<Result<u8, ()>>));
        let mut waiting = Box::pin(cache.get_or_load("b", minute, &[], || ready(Ok::<u8, ()>(1))));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(given_up.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(cache.loads.len(), 1);
        drop(given_up);
        assert_eq!(cache.loads.len(), 1);
        assert_eq!(waiting.await, Ok(1));
        assert_eq!(cache.loads.len(), 0);
        assert_eq!(cache.get_or_load("a", minute, &[], || ready(Err::<u8, ()>(()))).await, Err(()));
        assert_eq!(cache.loads.len(), 0);
    }
}
