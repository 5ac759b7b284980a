//! Whether a server is well: by asking it, and by how it answers.
mod active;
mod outlier;

pub use active::HealthCheck;
pub(crate) use active::{Probed, watch};
pub use outlier::Outliers;
pub(crate) use outlier::{Ejection, failed};
