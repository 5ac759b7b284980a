//! What all services of one layer share.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderMap, HeaderName};
use tokio::sync::Semaphore;

use crate::flight::Flights;
use crate::hints::Hints;
use crate::policy::Rules;
use crate::searches::Searches;
use crate::stats::Counts;
use crate::store::CacheStore;

/// What is for caches alone, and tells strangers how an application is made.
const TAGS: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")];

pub(crate) struct Shared {
    pub(crate) rules: Rules,
    pub(crate) store: Arc<dyn CacheStore>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) hints: Hints,
    pub(crate) searches: Searches,
    pub(crate) name: Box<str>,
    pub(crate) hides_tags: bool,
    /// How many requests may go on that no client waits for.
    pub(crate) behind: Arc<Semaphore>,
    pub(crate) stats: Arc<Counts>,
    stands: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        rules: Rules,
        store: Arc<dyn CacheStore>,
        name: Box<str>,
        hides_tags: bool,
        behind: usize,
        stats: Arc<Counts>,
    ) -> Self {
        Self {
            rules,
            store,
            flights: Arc::default(),
            hints: Hints::default(),
            searches: Searches::default(),
            name,
            hides_tags,
            behind: Arc::new(Semaphore::new(behind.min(Semaphore::MAX_PERMITS))),
            stats,
            // Of no two processes the same, whose entries may be in one store.
            stands: AtomicU64::new(random()),
        }
    }
    /// A name for one more place where the layer stands.
    pub(crate) fn stand(&self) -> u64 {
        self.stands.fetch_add(1, Relaxed)
    }
    pub(crate) fn hide(&self, headers: &mut HeaderMap) {
        for name in &TAGS {
            headers.remove(name);
        }
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("where the layer stands")
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("rules", &self.rules)
            .field("store", &self.store)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
