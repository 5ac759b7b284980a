#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod cache_changes;
mod cache_store;
mod cors;
mod diff;
mod document;
mod endpoint;
mod explain;
mod gateway;
mod keys;
mod limit_changes;
mod limits;
mod live;
mod methods;
mod overload;
mod purge;
mod read;
mod reader;
mod reference;
mod schema;
mod source;
mod stores;

pub use diff::Changes;
pub use explain::Explanation;
pub use gateway::{AccessLog, Gateway};
pub use live::{Live, ReloadError, Root, Widening};
pub use reference::reference;
pub use schema::schema;
pub use source::{FileError, FileErrors};
pub use stores::{OpenStore, Store};
