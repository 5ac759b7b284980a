//! Who may, who may not, and what they are told.
#![cfg(test)]

mod contract;
mod decisions;
mod matrix;
mod model;
mod own_requirement;
mod roles;
mod support;
