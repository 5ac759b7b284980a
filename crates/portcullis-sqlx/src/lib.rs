#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod row;
mod schema;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod stores;

pub use schema::SchemaError;
#[cfg(feature = "mysql")]
pub use stores::{MySqlSessions, MySqlStores};
#[cfg(feature = "postgres")]
pub use stores::{PgSessions, PgStores};
#[cfg(feature = "sqlite")]
pub use stores::{SqliteSessions, SqliteStores};
