//! A store that nobody waits for too long.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_core::{Clock, Respite};
use tokio::time::timeout;

use crate::policy::Stored;
use crate::store::{
    CacheStore, CacheStoreError, Entry, Found, Mark, ReadBody, Sizes, StoredBody, Write,
};
use crate::{Key, Purge};

/// How long a look-up may take, unless told otherwise.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long anything else may take: a piece of a body, a change.
const CHANGE: Duration = Duration::from_secs(1);

/// A store over the network that nobody waits for too long.
///
/// A look-up fails that takes more than 50 ms, and the cache goes on as if nothing were stored. After three failures in a row the store is left alone for 250 ms, in which nobody waits at all,
/// and then one look-up tries it again. Pieces of bodies and changes have a second each.
///
/// A [purge](CacheStore::purge) is tried in any case, and its failure is the caller's matter: what is not purged would be served again when the store is back.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    store: S,
    patience: Duration,
    clock: Clock,
    respite: Arc<Respite>,
}

impl<S: CacheStore> Guarded<S> {
    /// Guards a store.
    pub fn new(store: S) -> Self {
        Self { store, patience: PATIENCE, clock: Clock::system(), respite: Arc::default() }
    }
    /// How long a look-up may take. Default: 50 ms.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
    /// The clock that says until when the store is left alone. Default: the machine's.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
    /// Whether the store is left alone now.
    pub fn is_left_alone(&self) -> bool {
        self.respite.is_on(self.clock.now())
    }
    /// Says how it went.
    fn went<T>(&self, done: Result<T, CacheStoreError>) -> Result<T, CacheStoreError> {
        said(&self.respite, &self.clock, done)
    }
    async fn change(
        &self,
        change: impl Future<Output = Result<(), CacheStoreError>>,
    ) -> Result<(), CacheStoreError> {
        if self.is_left_alone() {
            return Err(CacheStoreError("it is left alone for a while".into()));
        }
        self.went(in_time(CHANGE, change).await)
    }
}

fn said<T>(
    respite: &Respite,
    clock: &Clock,
    done: Result<T, CacheStoreError>,
) -> Result<T, CacheStoreError> {
    match &done {
        Ok(_) => {
            if respite.succeeded() {
                tracing::info!("the cache's store answers again");
            }
        }
        Err(error) => {
            tracing::debug!("{error}");
            if respite.failed(clock.now()) {
                tracing::warn!("the cache's store does not answer, and is left alone for a while");
            }
        }
    }
    done
}

async fn in_time<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, CacheStoreError>>,
) -> Result<T, CacheStoreError> {
    let late = |_| CacheStoreError("it took too long".into());
    timeout(patience, call).await.map_err(late)?
}

/// Its bodies are guarded too.
fn guard(found: Found) -> Found {
    let is_elsewhere = |entry: &Entry| matches!(entry.body, StoredBody::Elsewhere(_));
    if !found.entries.iter().any(is_elsewhere) {
        return found;
    }
    let entries = found.entries.iter().map(|entry| {
        let body = match &entry.body {
            StoredBody::Elsewhere(body) => {
                StoredBody::Elsewhere(Arc::new(GuardedBody(Arc::clone(body))))
            }
            StoredBody::Here(pieces) => StoredBody::Here(Arc::clone(pieces)),
        };
        Entry { body, ..entry.clone() }
    });
    Found { entries: entries.collect(), mark: found.mark }
}

#[async_trait]
impl<S: CacheStore> CacheStore for Guarded<S> {
    fn find_now(&self, key: &Key) -> Option<Found> {
        self.store.find_now(key)
    }
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError> {
        if !self.respite.may_ask(self.clock.now()) {
            return Err(CacheStoreError("it is left alone for a while".into()));
        }
        self.went(in_time(self.patience, self.store.find(key)).await).map(guard)
    }
    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
    fn sizes(&self) -> Sizes {
        self.store.sizes()
    }
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        self.store.put_now(key, head, body, mark);
    }
    fn writer(&self, key: &Key, head: &Arc<Stored>, mark: Mark) -> Option<Box<dyn Write>> {
        if self.is_left_alone() {
            return None;
        }
        let write = self.store.writer(key, head, mark)?;
        let (respite, clock) = (Arc::clone(&self.respite), self.clock.clone());
        Some(Box::new(GuardedWrite { write, respite, clock }))
    }
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        self.change(self.store.refresh(key, old, new, mark)).await
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        self.change(self.store.remove(key, old)).await
    }
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError> {
        self.went(self.store.purge(purge).await)
    }
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool {
        self.store.purged_since(mark, key, head)
    }
}

struct GuardedBody(Arc<dyn ReadBody>);

#[async_trait]
impl ReadBody for GuardedBody {
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn piece(&self) -> u64 {
        self.0.piece()
    }
    async fn read(&self, piece: u64) -> Result<Bytes, CacheStoreError> {
        in_time(CHANGE, self.0.read(piece)).await
    }
}

struct GuardedWrite {
    write: Box<dyn Write>,
    respite: Arc<Respite>,
    clock: Clock,
}

#[async_trait]
impl Write for GuardedWrite {
    async fn push(&mut self, data: Bytes) -> Result<(), CacheStoreError> {
        in_time(CHANGE, self.write.push(data)).await
    }
    async fn finish(self: Box<Self>) -> Result<(), CacheStoreError> {
        let Self { write, respite, clock } = *self;
        said(&respite, &clock, in_time(CHANGE, write.finish()).await)
    }
}
