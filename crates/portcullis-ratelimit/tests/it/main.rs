//! Who is counted together, how much they may, and what they are told when it is too much.
#![cfg(test)]

mod bypass;
mod contract;
mod keys;
mod quotas;
mod sharing;
mod start;
mod support;
mod time;
mod unknown;
