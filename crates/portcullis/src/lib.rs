#![cfg_attr(feature = "full", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "full"),
    doc = "The layers of portcullis; see the documentation of the feature `full`."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(no_inline)]
pub use portcullis_core::*;

#[cfg(feature = "authn")]
#[doc(inline)]
pub use portcullis_authn as authn;
#[cfg(feature = "authz")]
#[doc(inline)]
pub use portcullis_authz as authz;
#[cfg(feature = "axum")]
#[doc(inline)]
pub use portcullis_axum as axum;
#[cfg(feature = "cache")]
#[doc(inline)]
pub use portcullis_cache as cache;
#[cfg(feature = "gateway")]
#[doc(inline)]
pub use portcullis_gateway as gateway;
#[cfg(feature = "ratelimit")]
#[doc(inline)]
pub use portcullis_ratelimit as ratelimit;
#[cfg(feature = "resilience")]
#[doc(inline)]
pub use portcullis_resilience as resilience;
#[cfg(feature = "server")]
#[doc(inline)]
pub use portcullis_server as server;
#[cfg(feature = "telemetry")]
#[doc(inline)]
pub use portcullis_telemetry as telemetry;

pub mod prelude;
pub mod problems;
