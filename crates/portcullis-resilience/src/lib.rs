#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod breaker;
mod budget;
mod bulkhead;
mod replay;
mod window;

pub use backoff::Backoff;
pub use breaker::{Breaker, BreakerBuilder, BreakerOpen, BreakerPermit, BreakerState};
pub use budget::RetryBudget;
pub use bulkhead::{Bulkhead, BulkheadFull, BulkheadPermit};
pub use replay::{Replay, ReplayBody};
