//! A remote cache store, which is asked on the runtime that all workers share.
use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_cache::policy::Stored;
use portcullis_cache::store::{
    CacheStore, CacheStoreError, Entry, Found, Mark, ReadBody, Sizes, StoredBody, Write,
};
use portcullis_cache::{Key, Purge};
use portcullis_core::BoxError;
use tokio::runtime::Handle;

use crate::stores::Asked;

/// A store whose connections are opened and used on one runtime, from when that is known. Until then nothing is found. Clones are the same.
#[derive(Clone)]
pub(crate) struct Remote {
    make: Arc<Make>,
    open: Arc<OnceLock<(Handle, Arc<dyn CacheStore>)>>,
}

/// Makes the store, inside of its runtime.
type Make = dyn Fn() -> Result<Arc<dyn CacheStore>, BoxError> + Send + Sync;

type Answer<T> = Result<T, CacheStoreError>;

impl Remote {
    pub(crate) fn new(
        make: impl Fn() -> Result<Arc<dyn CacheStore>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { make: Arc::new(make), open: Arc::default() }
    }
    /// Makes it for this runtime, where it has none yet.
    pub(crate) fn start(&self, runtime: &Handle) {
        if self.open.get().is_some() {
            return;
        }
        let _inside = runtime.enter();
        match (self.make)() {
            Ok(store) => drop(self.open.set((runtime.clone(), store))),
            Err(error) => tracing::warn!("the cache has no store: {error}"),
        }
    }
    fn store(&self) -> Option<&Arc<dyn CacheStore>> {
        self.open.get().map(|(_, store)| store)
    }
    fn opened(&self) -> Answer<(&Handle, Arc<dyn CacheStore>)> {
        let not_yet = || CacheStoreError("it is not open yet".into());
        let (runtime, store) = self.open.get().ok_or_else(not_yet)?;
        Ok((runtime, Arc::clone(store)))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("store", &self.store()).finish_non_exhaustive()
    }
}

/// Has something done there. Nobody does it any longer when the future is dropped.
async fn on<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Answer<T>> + Send + 'static,
) -> Answer<T> {
    let asked = Asked::new(runtime.spawn(work));
    asked.answer().await.unwrap_or_else(|error| Err(CacheStoreError(error.into())))
}

#[async_trait]
impl CacheStore for Remote {
    fn find_now(&self, key: &Key) -> Option<Found> {
        self.store()?.find_now(key)
    }
    async fn find(&self, key: &Key) -> Answer<Found> {
        let ((runtime, store), key) = (self.opened()?, key.clone());
        let mut found = on(runtime, async move { store.find(&key).await }).await?;
        let is_elsewhere = |entry: &Entry| matches!(entry.body, StoredBody::Elsewhere(_));
        if found.entries.iter().any(is_elsewhere) {
            let entries = found.entries.iter().cloned().map(|mut entry| {
                if let StoredBody::Elsewhere(body) = entry.body {
                    let body = RemoteBody { body, runtime: runtime.clone() };
                    entry.body = StoredBody::Elsewhere(Arc::new(body));
                }
                entry
            });
            found.entries = entries.collect();
        }
        Ok(found)
    }
    fn is_shared(&self) -> bool {
        self.store().is_some_and(|store| store.is_shared())
    }
    fn sizes(&self) -> Sizes {
        self.store().map_or(Sizes { whole: 0, streamed: 0 }, |store| store.sizes())
    }
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        if let Some(store) = self.store() {
            store.put_now(key, head, body, mark);
        }
    }
    fn writer(&self, key: &Key, head: &Arc<Stored>, mark: Mark) -> Option<Box<dyn Write>> {
        let (runtime, store) = self.open.get()?;
        let write = store.writer(key, head, mark)?;
        Some(Box::new(RemoteWrite { write: Some(write), runtime: runtime.clone() }))
    }
    async fn refresh(&self, key: &Key, old: &Stored, new: Arc<Stored>, mark: Mark) -> Answer<()> {
        let ((runtime, store), key, old) = (self.opened()?, key.clone(), old.clone());
        on(runtime, async move { store.refresh(&key, &old, new, mark).await }).await
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Answer<()> {
        let ((runtime, store), key, old) = (self.opened()?, key.clone(), old.clone());
        on(runtime, async move { store.remove(&key, &old).await }).await
    }
    async fn purge(&self, purge: &Purge) -> Answer<()> {
        let ((runtime, store), purge) = (self.opened()?, purge.clone());
        on(runtime, async move { store.purge(&purge).await }).await
    }
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool {
        self.store().is_none_or(|store| store.purged_since(mark, key, head))
    }
}

struct RemoteBody {
    body: Arc<dyn ReadBody>,
    runtime: Handle,
}

#[async_trait]
impl ReadBody for RemoteBody {
    fn len(&self) -> u64 {
        self.body.len()
    }
    fn piece(&self) -> u64 {
        self.body.piece()
    }
    async fn read(&self, piece: u64) -> Answer<Bytes> {
        let body = Arc::clone(&self.body);
        on(&self.runtime, async move { body.read(piece).await }).await
    }
}

struct RemoteWrite {
    /// `None` while a piece is under way, and after one that failed.
    write: Option<Box<dyn Write>>,
    runtime: Handle,
}

impl RemoteWrite {
    fn take(&mut self) -> Answer<Box<dyn Write>> {
        self.write.take().ok_or_else(|| CacheStoreError("a piece before has failed".into()))
    }
}

#[async_trait]
impl Write for RemoteWrite {
    async fn push(&mut self, data: Bytes) -> Answer<()> {
        let mut write = self.take()?;
        let pushed = async move {
            write.push(data).await?;
            Ok(write)
        };
        self.write = Some(on(&self.runtime, pushed).await?);
        Ok(())
    }
    async fn finish(mut self: Box<Self>) -> Answer<()> {
        let write = self.take()?;
        on(&self.runtime, async move { write.finish().await }).await
    }
}
