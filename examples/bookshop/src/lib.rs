//! A bookshop behind the whole stack: observe, edge, route, limit, authenticate, limit, authorize, cache, and an axum
//! application on SQLite as the leaf.
mod accounts;
mod admin;
mod api;
mod banner;
mod catalogue;
mod certificate;
mod demo;
mod home;
mod roles;
mod stack;
mod store;

pub use accounts::Front;
pub use banner::{TRIES, Try, banner};
pub use catalogue::replicas;
pub use certificate::of_this_machine;
pub use roles::{DEMO_KEYS, DemoKey, Place};
pub use stack::{Shop, app};
pub use store::Store;
