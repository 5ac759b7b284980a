#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use portcullis_core::*;

#[cfg(feature = "authn")]
pub use portcullis_authn as authn;
#[cfg(feature = "authz")]
pub use portcullis_authz as authz;
#[cfg(feature = "axum")]
pub use portcullis_axum as axum;
#[cfg(feature = "ratelimit")]
pub use portcullis_ratelimit as ratelimit;
#[cfg(feature = "telemetry")]
pub use portcullis_telemetry as telemetry;
