#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
mod compiled;
pub mod kinds;
mod roles;

pub use authorize::{Authorize, AuthorizeLayer, ByRoute, Fixed};
pub use roles::{Roles, RolesBuilder};
