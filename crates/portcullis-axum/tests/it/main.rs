//! Tests of the adapter through its public face: guarded routers behind a stack, and single layers on axum's own.
#![cfg(test)]

mod app;
#[cfg(feature = "authz")]
mod authorized;
mod bridge;
#[cfg(feature = "cache")]
mod caching;
mod extract;
mod guarded;
mod leaf;
#[cfg(feature = "ratelimit")]
mod limits;
mod nested;
mod problem;
mod support;
mod valid;
