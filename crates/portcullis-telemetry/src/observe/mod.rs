//! Observation: layer, service, future. See the [crate docs](crate) for an example.
mod access_log;
mod future;
mod layer;
mod one_line;
mod outcome;
mod panics;
mod record;
mod service;
mod traced;

pub use future::ObserveFuture;
pub use layer::ObserveLayer;
pub(crate) use outcome::Outcome;
pub use service::Observe;
