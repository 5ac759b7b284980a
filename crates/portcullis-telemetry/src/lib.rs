#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod metrics;
mod observe;
mod operations;

pub use metrics::{Metrics, MetricsService};
pub use observe::{Observe, ObserveFuture, ObserveLayer};
pub use operations::Operations;
