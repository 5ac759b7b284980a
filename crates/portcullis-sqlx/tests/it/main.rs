//! Every store on every database, held to the contract. It needs PostgreSQL and MariaDB, which `cargo xtask services` starts.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![cfg(test)]

mod away;
mod contract;
mod migrate;
mod support;
