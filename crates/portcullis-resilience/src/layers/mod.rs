//! The parts as layers around a client. Each lets go of what it holds when its future, or the body of the answer, is dropped.
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use portcullis_core::Dialect;

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

/// In what shape whoever calls expects an error. It is code and no browser, whatever the request accepts.
pub(crate) fn dialect_of<B>(request: &Request<B>) -> Dialect {
    if request.method() == Method::HEAD || request.headers().contains_key(CONTENT_TYPE) {
        return Dialect::of(request);
    }
    Dialect::default()
}
