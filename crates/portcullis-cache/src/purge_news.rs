//! How processes hear of each other's purges.
use std::fmt;

use async_trait::async_trait;

use crate::Purge;
use crate::store::{CacheStoreError, Mark};

/// Tells processes that share a store what has been purged there.
#[async_trait]
pub trait PurgeNews: Send + Sync + fmt::Debug {
    /// How far purges have got: each has the number of the last one, and one more. A store that has lost its numbers goes on with larger ones.
    async fn mark(&self) -> Result<Mark, CacheStoreError>;
    /// Listens from now on.
    async fn listen(&self) -> Result<Box<dyn PurgeListener>, CacheStoreError>;
}

/// Hears of purges, in their order.
#[async_trait]
pub trait PurgeListener: Send {
    /// The next purge and its number; `None` once nothing can be heard any longer.
    async fn next(&mut self) -> Option<(Purge, Mark)>;
}
