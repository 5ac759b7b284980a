#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod aside;
mod content;
mod control;
mod copies;
mod exchange;
mod flight;
mod forward;
mod guarded;
mod handle;
mod hints;
mod kept;
mod key;
pub mod kinds;
mod layer;
mod memory;
mod odd;
mod option;
pub mod policy;
mod purge;
mod purge_log;
mod purge_news;
mod query;
mod quick;
mod searches;
mod shared;
mod stats;
mod status;
pub mod store;
mod stream;
mod two_levels;
mod variants;

pub use control::{CacheControl, CacheTagError, CacheTags};
pub use guarded::Guarded;
pub use handle::CacheHandle;
pub use key::{Key, Scope};
pub use layer::{Cache, CacheFuture, CacheLayer};
pub use memory::{Memory, MemoryUsage};
pub use option::{CacheExt, Cached};
pub use policy::Preset;
pub use purge::Purge;
pub use purge_news::{PurgeListener, PurgeNews};
pub use stats::CacheStats;
pub use two_levels::TwoLevels;
