//! Who may, who may not, and what they are told.
#![cfg(test)]

#[cfg(feature = "cedar")]
mod cedar;
mod casbin_vectors;
mod contract;
mod decisions;
mod matrix;
mod model;
mod nist;
mod objects;
mod own_requirement;
mod policies;
mod roles;
mod shadow;
mod step_up;
mod support;
