//! Tests of the kit itself: every check must be able to fail.
#![cfg(test)]

mod answers;
mod broken;
mod client;
mod contract;
mod support;
mod time;
mod users;
