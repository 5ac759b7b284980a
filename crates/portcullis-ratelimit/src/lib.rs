#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod kinds;
mod layer;
mod memory;
mod option;
mod quota;

pub use layer::{RateLimit, RateLimitLayer};
pub use option::{LimitExt, Limits};
pub use quota::{Key, Quota, per_hour, per_minute, per_second};
