#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod app;
#[cfg(feature = "authz")]
mod authorized;
mod bridge;
#[cfg(feature = "cache")]
mod caching;
mod extract;
mod guard;
mod guarded;
mod handlers;
pub mod kinds;
mod leaf;
#[cfg(feature = "ratelimit")]
mod limited;
mod problem;
mod quotas;
mod valid;

pub use app::App;
#[cfg(feature = "authz")]
pub use authorized::{Authorized, Permission, Require};
pub use bridge::{Bridge, BridgeLayer};
#[cfg(feature = "cache")]
pub use caching::{Caching, Tagged};
pub use extract::{Caller, Claims, FromIdentity, RequestContext};
pub use guarded::Guarded;
pub use handlers::{Handlers, any, delete, get, head, options, patch, post, put};
pub use leaf::{Leaf, LeafFuture};
#[cfg(feature = "ratelimit")]
pub use limited::Limited;
pub use problem::Problem;
pub use quotas::{Quotas, Spend};
pub use valid::Valid;
