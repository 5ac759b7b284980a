//! What all services of one layer share.
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tokio::sync::Semaphore;

use crate::flight::Flights;
use crate::hints::Hints;
use crate::policy::Rules;
use crate::searches::Searches;
use crate::stats::Counts;
use crate::store::CacheStore;
use crate::stream::Room;

/// What is for caches alone, and tells strangers how an application is made.
const TAGS: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")];

pub(crate) struct Shared {
    pub(crate) rules: Rules,
    pub(crate) store: Arc<dyn CacheStore>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) hints: Hints,
    pub(crate) searches: Arc<Searches>,
    pub(crate) name: Box<str>,
    pub(crate) hides_tags: bool,
    /// Fields of requests that the origin does not look at.
    pub(crate) ignored: Vec<HeaderName>,
    /// How many requests may go on that no client waits for.
    pub(crate) behind: Arc<Semaphore>,
    /// For bodies on their way.
    pub(crate) room: Arc<Room>,
    pub(crate) stats: Arc<Counts>,
    /// Where it stands, where nobody has read the target.
    pub(crate) stand: u64,
}

/// Takes off what is for caches alone.
pub(crate) fn hide(headers: &mut HeaderMap) {
    for name in &TAGS {
        headers.remove(name);
    }
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
