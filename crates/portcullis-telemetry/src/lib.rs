#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod metrics;
mod observe;

pub use metrics::{Metrics, MetricsService};
pub use observe::{Observe, ObserveFuture, ObserveLayer};
