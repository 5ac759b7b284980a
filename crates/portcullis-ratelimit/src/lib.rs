#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admitted;
mod at_once;
mod cost;
mod decide;
mod fields;
mod future;
mod handle;
mod key;
pub mod kinds;
mod layer;
mod leases;
mod limiter;
mod memory;
mod option;
mod overload;
mod quick;
mod quota;
mod rate;
mod shared;
mod stats;
mod store;
mod sync;
mod table;
mod under_way;

pub use fields::Fields;
pub use future::RateLimitFuture;
pub use handle::{Pass, Throttle};
pub use key::{Asked, Key, KeyFn};
pub use layer::{RateLimit, RateLimitLayer};
pub use option::{LimitExt, Limits};
pub use overload::{
    Adaptive, Concurrency, Overload, OverloadFuture, OverloadLayer, OverloadStats, Priority,
    PriorityExt, Queue, RoutePriority,
};
pub use quota::{
    Quota, Window, at_once, per, per_day, per_hour, per_minute, per_second, unlimited,
};
pub use rate::Rate;
pub use shared::{OnFailure, SharedCounts};
pub use stats::RateLimitStats;
pub use store::{QuotaStore, QuotaStoreError, Take, Taken};
