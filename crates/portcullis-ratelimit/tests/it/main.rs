//! Who is counted together, how much they may, and what they are told when it is too much.
#![cfg(test)]

mod attacks;
mod bypass;
mod contract;
mod costs;
mod exact;
mod fields;
mod flood;
mod handle;
mod keys;
mod overload;
mod quotas;
mod sharing;
mod spellings;
mod start;
mod store;
mod structured;
mod support;
mod threads;
mod time;
mod together;
mod under_way;
mod unknown;
