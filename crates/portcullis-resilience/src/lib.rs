#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod breaker;
mod budget;
mod bulkhead;
pub mod kinds;
mod layers;
mod outcome;
mod replay;
mod spare;
mod window;

pub use backoff::Backoff;
pub use breaker::{Breaker, BreakerBuilder, BreakerOpen, BreakerPermit, BreakerState};
pub use budget::RetryBudget;
pub use bulkhead::{Bulkhead, BulkheadFull, BulkheadPermit};
pub use kinds::retry_after;
pub use layers::{
    BreakerFuture, BreakerLayer, BulkheadFuture, BulkheadLayer, HedgeFuture, HedgeLayer,
    RetryFuture, RetryLayer, TimeoutFuture, TimeoutLayer, WithBreaker, WithBulkhead, WithHedge,
    WithRetries, WithTimeout,
};
pub use outcome::{HttpOutcomes, Outcome, Outcomes, is_failure};
pub use replay::{Replay, ReplayBody};
pub use spare::Spare;
