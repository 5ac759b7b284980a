//! Who may, who may not, and what they are told.
#![cfg(test)]

mod casbin_vectors;
#[cfg(feature = "cedar")]
mod cedar;
mod contract;
mod decision_log;
mod decisions;
mod explain_header;
mod matrix;
mod matrix_file;
mod model;
mod nist;
mod objects;
mod own_requirement;
mod policies;
mod roles;
mod shadow;
mod step_up;
mod support;
