//! The parts as layers around a client. Each lets go of what it holds when its future, or the body of the answer, is dropped.
mod breaker;
mod bulkhead;
mod hedge;
mod retry;
mod timeout;

pub use breaker::{BreakerFuture, BreakerLayer, WithBreaker};
pub use bulkhead::{BulkheadFuture, BulkheadLayer, WithBulkhead};
pub use hedge::{HedgeFuture, HedgeLayer, WithHedge};
pub use retry::{RetryFuture, RetryLayer, WithRetries};
pub use timeout::{TimeoutFuture, TimeoutLayer, WithTimeout};
