//! Memory before a store that is shared.
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_core::Clock;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::copies::Copies;
use crate::policy::Stored;
use crate::store::{CacheStore, CacheStoreError, Found, Mark, Sizes, Write};
use crate::{Key, Memory, Purge, PurgeNews};

/// Memory before a store that processes share: what was found there is answered from memory the next time.
///
/// The memory has copies, and only of what is fresh and small enough to be at hand. They are used while they are known to be current: every 250 ms it asks how far purges have got, and copies are used for 700 ms
/// after it had heard of all of them. Purges are heard by messages, and applied one by one; when one is missed all copies are dropped. So nothing is served that was
/// purged, here or by another process, more than 700 ms after the purge has returned, whatever breaks; while the shared store cannot be asked, there are no copies either.
///
/// What another process stores in the place of something does not take out the copy, which is good for as long as it says. A copy is of all variants that there
/// were: whoever finds none among them that fits asks by [`find`](CacheStore::find), which always asks the shared store.
///
/// # Deployment
/// It listens and asks in two tasks on the runtime of the first look-up, which end with it.
pub struct TwoLevels<S> {
    shared: S,
    copies: Arc<Copies>,
    tasks: Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl<S: CacheStore> TwoLevels<S> {
    /// Puts `memory` before `shared`, whose purges are told by `news`. The memory must have nothing in it, and no other user.
    pub fn new(memory: Memory, shared: S, news: impl PurgeNews + 'static) -> Self {
        let copies = Copies::new(memory, Arc::new(news), Clock::system());
        Self { shared, copies: Arc::new(copies), tasks: Mutex::default() }
    }
    /// The clock that says how long copies may be used. Default: the machine's. Say it before the first look-up.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        if let Some(copies) = Arc::get_mut(&mut self.copies) {
            copies.tell_time(clock);
        }
        self
    }
    /// Whether copies are used now.
    pub fn is_current(&self) -> bool {
        self.copies.is_current()
    }
    fn listen(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose runtime is over have finished.
        let are_there = |tasks: &[JoinHandle<()>; 2]| !tasks.iter().any(JoinHandle::is_finished);
        if tasks.as_ref().is_some_and(are_there) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (asks, hears) = (Arc::clone(&self.copies), Arc::clone(&self.copies));
        let new = [
            runtime.spawn(async move { asks.ask_on().await }),
            runtime.spawn(async move { hears.hear_on().await }),
        ];
        end(tasks.replace(new));
    }
}

fn end(tasks: Option<[JoinHandle<()>; 2]>) {
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
}

#[async_trait]
impl<S: CacheStore> CacheStore for TwoLevels<S> {
    fn find_now(&self, key: &Key) -> Option<Found> {
        self.copies.find(key)
    }
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError> {
        self.listen();
        let found = self.shared.find(key).await?;
        self.copies.take(key, &found);
        Ok(found)
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn sizes(&self) -> Sizes {
        self.shared.sizes()
    }
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        self.shared.put_now(key, head, body, mark);
        self.copies.replace(key, head, body, mark);
    }
    fn writer(&self, key: &Key, head: &Arc<Stored>, mark: Mark) -> Option<Box<dyn Write>> {
        let write = self.shared.writer(key, head, mark)?;
        let copies = Arc::clone(&self.copies);
        Some(Box::new(Both {
            write,
            room: copies.largest(),
            body: Vec::new(),
            copies,
            key: key.clone(),
            head: Arc::clone(head),
            mark,
        }))
    }
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        self.shared.refresh(key, old, Arc::clone(&new), mark).await?;
        self.copies.refresh(key, old, new, mark).await
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        self.copies.remove(key, old).await?;
        self.shared.remove(key, old).await
    }
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError> {
        let done = self.shared.purge(purge).await;
        // One's own purges are heard like those of others: when this returns, they have been.
        self.copies.catch_up().await;
        done
    }
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool {
        let known = self.copies.purged_since(mark, key, head);
        known.unwrap_or_else(|| self.shared.purged_since(mark, key, head))
    }
}

impl<S> Drop for TwoLevels<S> {
    fn drop(&mut self) {
        end(self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl<S: fmt::Debug> fmt::Debug for TwoLevels<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoLevels").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Writes to the shared store, and keeps what memory takes the place of a copy with.
struct Both {
    write: Box<dyn Write>,
    /// How much more memory takes.
    room: u64,
    body: Vec<Bytes>,
    copies: Arc<Copies>,
    key: Key,
    head: Arc<Stored>,
    mark: Mark,
}

#[async_trait]
impl Write for Both {
    async fn push(&mut self, data: Bytes) -> Result<(), CacheStoreError> {
        let len = data.len() as u64;
        if len > self.room {
            (self.room, self.body) = (0, Vec::new());
        } else if len > 0 {
            self.room -= len;
            self.body.push(data.clone());
        }
        self.write.push(data).await
    }
    async fn finish(self: Box<Self>) -> Result<(), CacheStoreError> {
        let Self { write, room, body, copies, key, head, mark } = *self;
        write.finish().await?;
        if room > 0 {
            copies.replace(&key, &head, &body.into(), mark);
        } else {
            // Too large for a copy: the old one is not one of it.
            copies.remove(&key, &head).await?;
        }
        Ok(())
    }
}
