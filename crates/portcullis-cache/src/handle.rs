//! What application code does with a cache.
use std::fmt;
use std::sync::Arc;

use portcullis_core::Clock;

use crate::aside::Loads;
use crate::policy::Moment;
use crate::searches::Searches;
use crate::store::{CacheStore, CacheStoreError};
use crate::{Key, Purge};

/// A cache in the hands of application code: it purges what is no longer good, and keeps values that are dear to make.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use portcullis_cache::{CacheHandle, Memory, Purge};
///
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Book { title: String }
/// # async fn from_database(_: u32) -> Result<Book, std::io::Error> { Ok(Book { title: "Emma".to_owned() }) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = CacheHandle::new(Arc::new(Memory::new(16 * 1024 * 1024)));
/// let minute = Duration::from_secs(60);
/// // However many ask for it at once, the database is asked once.
/// let book = cache.get_or_load("book 1", minute, &["books"], || from_database(1)).await?;
/// assert_eq!(book.title, "Emma");
/// // A book has changed.
/// cache.purge(Purge::tag("books")).await?;
/// # Ok(())
/// # }
/// ```
///
/// Clones are the same cache.
#[derive(Clone)]
pub struct CacheHandle {
    pub(crate) store: Arc<dyn CacheStore>,
    pub(crate) loads: Loads,
    searches: Arc<Searches>,
    clock: Clock,
}

impl CacheHandle {
    /// Works on a store, on the machine's clock.
    ///
    /// Only callers of one handle and its clones wait for each other's loads.
    pub fn new(store: Arc<dyn CacheStore>) -> Self {
        let (loads, searches) = (Loads::default(), Arc::default());
        Self { store, loads, searches, clock: Clock::system() }
    }
    /// The clock that says until when a value is good. Default: the machine's.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
    pub(crate) fn now(&self) -> Moment {
        self.clock.wall().into()
    }
    /// Takes out what `purge` says: responses and values, also those that are on their way.
    ///
    /// # Errors
    /// Where the store cannot answer: then something of it may still be there.
    pub async fn purge(&self, purge: Purge) -> Result<(), CacheStoreError> {
        self.searches.purge(&*self.store, &purge).await
    }
    pub(crate) fn searches(&self) -> Arc<Searches> {
        Arc::clone(&self.searches)
    }
    /// Takes out the value of one key, also one that is being loaded.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub async fn forget(&self, key: &str) -> Result<(), CacheStoreError> {
        // The name stands where others have their URL.
        self.store.purge(&Purge::url(Key::value(key).url_text())).await
    }
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").field("store", &self.store).finish_non_exhaustive()
    }
}
