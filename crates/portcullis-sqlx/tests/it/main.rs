//! Every store on every database, held to the contract. It needs PostgreSQL, MariaDB and Redis, which `cargo xtask services` starts.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![cfg(test)]

mod away;
mod contract;
mod decisions;
mod filter;
mod limits;
mod migrate;
mod replicas;
mod support;
