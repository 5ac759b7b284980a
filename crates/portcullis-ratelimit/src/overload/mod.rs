//! Overload: how many requests are under way at once, who is shed, and who waits.
//!
//! `state.rs` is what all clones share; `gradient.rs`, `codel.rs`, `queue.rs` and `pace.rs` decide, by times that are passed in.
mod codel;
mod concurrency;
mod future;
mod gradient;
mod layer;
mod pace;
mod priority;
mod queue;
mod reason;
mod service;
mod sizing;
mod state;
mod stats;

pub use concurrency::{Adaptive, Concurrency};
pub use future::OverloadFuture;
pub use layer::OverloadLayer;
pub use priority::{Priority, PriorityExt, RoutePriority};
pub use queue::Queue;
pub use service::Overload;
pub use stats::OverloadStats;
