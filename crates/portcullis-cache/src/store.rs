//! Where responses are kept.
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_core::BoxError;

use crate::policy::Stored;
use crate::{Key, Purge};

/// A stored response.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Everything but its body.
    pub head: Arc<Stored>,
    /// Its body.
    pub body: StoredBody,
    /// Whether a soft purge has made it stale.
    pub is_stale: bool,
}

/// The body of a stored response.
#[derive(Clone)]
#[expect(clippy::exhaustive_enums, reason = "whoever reads a body has to know each way")]
pub enum StoredBody {
    /// At hand, in pieces of which none is empty.
    Here(Arc<[Bytes]>),
    /// To be fetched, piece by piece.
    Elsewhere(Arc<dyn ReadBody>),
}

/// A body that is fetched from a store, piece by piece.
#[async_trait]
pub trait ReadBody: Send + Sync {
    /// How many bytes it has.
    fn len(&self) -> u64;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How many bytes each piece has, but the last.
    fn piece(&self) -> u64;
    /// Fetches a piece.
    async fn read(&self, piece: u64) -> Result<Bytes, CacheStoreError>;
}

/// Where a store had got to with its purges: what is stored with it was asked for then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// What a store has under a key.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All variants, the newest first. Nothing that was purged.
    pub entries: Arc<[Entry]>,
    /// How far purges had got when it was looked up.
    pub mark: Mark,
}

/// Keeps responses.
#[async_trait]
pub trait CacheStore: Send + Sync + fmt::Debug {
    /// What is stored under a key, where that can be said at once; `None` means that [`find`](Self::find) has to be asked.
    fn find_now(&self, key: &Key) -> Option<Found>;
    /// What is stored under a key.
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError>;
    /// Whether others store in it too, so that what is [at hand](Self::find_now) may not be all that there is. Default: nobody does.
    fn is_shared(&self) -> bool {
        false
    }
    /// How large a body may be.
    fn sizes(&self) -> Sizes;
    /// Stores a response whose body is complete and at hand, where that needs no waiting; a store that has a [`writer`](Self::writer) for it does nothing. `mark` is that of the
    /// look-up that came before the request to the origin. It takes the place of what has the same key and the same `Vary` values.
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark);
    /// Takes a response whose body is still coming, where storing it has to be waited for. Default: none.
    fn writer(&self, _key: &Key, _head: &Arc<Stored>, _mark: Mark) -> Option<Box<dyn Write>> {
        None
    }
    /// Stores a new head for what is stored, after a 304. Nothing happens where `old` is not there any longer.
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError>;
    /// Takes out what is stored under a key and matches a head.
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError>;
    /// Takes out what `purge` says. When it returns, nobody who asks this store, here or in another process, gets what was taken out; where others have copies before it, it says
    /// within which time they have let go.
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError>;
    /// Whether a response that was asked for at `mark` has been purged since, as far as this process knows; a store that cannot tell says yes.
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool;
}

/// How large a body may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// That is [put](CacheStore::put_now) as a whole.
    pub whole: u64,
    /// That a [writer](CacheStore::writer) takes; 0 where there is none.
    pub streamed: u64,
}

/// Takes the body of a response that is being stored, piece by piece. Dropping it before [`finish`](Self::finish) stores nothing; what it takes the place of stays until then.
#[async_trait]
pub trait Write: Send {
    /// The next piece.
    async fn push(&mut self, data: Bytes) -> Result<(), CacheStoreError>;
    /// The body is complete.
    async fn finish(self: Box<Self>) -> Result<(), CacheStoreError>;
}

/// A store that cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("the cache's store cannot answer: {0}")]
pub struct CacheStoreError(#[from] pub BoxError);

impl fmt::Debug for StoredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(pieces) => f.debug_tuple("Here").field(&pieces.len()).finish(),
            Self::Elsewhere(body) => f.debug_tuple("Elsewhere").field(&body.len()).finish(),
        }
    }
}

impl Default for StoredBody {
    fn default() -> Self {
        Self::Here(Arc::new([]))
    }
}
