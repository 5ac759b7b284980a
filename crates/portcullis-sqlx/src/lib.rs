#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod accounts;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod decisions;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod filter;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod limit_sql;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod limit_step;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod limits;
#[cfg(feature = "postgres")]
mod listen;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod retry;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod roles;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod row;
mod schema;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod stores;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use accounts::{ManagedUsers, Rights};
#[cfg(feature = "mysql")]
pub use accounts::{MySqlKeys, MySqlTokens, MySqlUsers};
#[cfg(feature = "postgres")]
pub use accounts::{PgKeys, PgTokens, PgUsers};
#[cfg(feature = "sqlite")]
pub use accounts::{SqliteKeys, SqliteTokens, SqliteUsers};
#[cfg(feature = "mysql")]
pub use decisions::MySqlDecisions;
#[cfg(feature = "postgres")]
pub use decisions::PgDecisions;
#[cfg(feature = "sqlite")]
pub use decisions::SqliteDecisions;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use filter::FilterExt;
#[cfg(feature = "mysql")]
pub use limits::MySqlQuotas;
#[cfg(feature = "postgres")]
pub use limits::PgQuotas;
#[cfg(feature = "sqlite")]
pub use limits::SqliteQuotas;
#[cfg(feature = "mysql")]
pub use roles::MySqlRoles;
#[cfg(feature = "postgres")]
pub use roles::PgRoles;
#[cfg(feature = "sqlite")]
pub use roles::SqliteRoles;
pub use schema::SchemaError;
/// The crate whose pools are taken, in the version that is.
pub use sqlx;
#[cfg(feature = "mysql")]
pub use stores::{MySqlSessions, MySqlStores};
#[cfg(feature = "postgres")]
pub use stores::{PgSessions, PgStores};
#[cfg(feature = "sqlite")]
pub use stores::{SqliteSessions, SqliteStores};
