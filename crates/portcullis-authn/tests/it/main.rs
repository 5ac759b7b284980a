//! What a caller with, without, and with a wrong API key meets.
#![cfg(test)]

#[cfg(feature = "accounts")]
mod accounts;
mod cached;
mod certificates;
mod contract;
mod introspection;
mod keys;
#[cfg(feature = "passwords")]
mod passwords;
mod proofs;
mod remembered;
mod revoked;
mod rotation;
mod routes;
mod secrecy;
mod sessions;
mod support;
