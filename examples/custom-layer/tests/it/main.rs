//! The layer alone, in a stack, and in the shop.
#![cfg(test)]

mod maintenance;
mod shop;
