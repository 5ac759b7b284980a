#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cors;
mod endpoint;
mod gateway;
mod keys;
mod read;
mod reader;
mod reference;
mod schema;
mod source;

pub use gateway::{AccessLog, Gateway};
pub use reference::reference;
pub use schema::schema;
pub use source::{FileError, FileErrors};
