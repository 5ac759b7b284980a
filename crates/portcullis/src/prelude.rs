//! What nearly every stack needs: `use portcullis::prelude::*;`.
//!
//! What is needed once stands elsewhere: `portcullis::server::{Tls, Admin, Handle}`, `portcullis::{Connection, Problem}`.
//! (`portcullis::Tls` is what is known about a connection, `portcullis::server::Tls` what a server speaks.)
//!
//! The axum adapter is not in it, since its names are those of `axum::routing`: `use portcullis::axum::{get, Guarded};`.
#[cfg(feature = "authn")]
pub use portcullis_authn::{
    ApiKey, ApiKeys, AuthenticateLayer, ClaimNames, Introspection, TokenIssuer,
};
#[cfg(feature = "authz")]
pub use portcullis_authz::{AuthorizeLayer, Roles};
#[cfg(feature = "cache")]
pub use portcullis_cache::{
    CacheControl, CacheExt, CacheHandle, CacheLayer, CacheTags, Cached, Purge,
};
pub use portcullis_core::{
    ConfigErrors, Context, EdgeLayer, Identity, Readiness, RouteExt, Routes, Secret, Stack,
    TrustedProxies, WithOptions, authenticated, optional, policy, public, require,
    route::{Open, Restricted},
    stage,
};
#[cfg(feature = "gateway")]
pub use portcullis_gateway::{Proxy, Upstream};
#[cfg(feature = "ratelimit")]
pub use portcullis_ratelimit::{
    Key, LimitExt, RateLimitLayer, at_once, per_day, per_hour, per_minute, per_second,
};
#[cfg(feature = "server")]
pub use portcullis_server::{Limits, Server};
#[cfg(feature = "telemetry")]
pub use portcullis_telemetry::{Metrics, ObserveLayer, Operations};
