#![doc = include_str!("../problems.md")]

use portcullis_core::ProblemKind;

/// Every kind of problem that the enabled layers answer with.
pub fn all() -> impl Iterator<Item = ProblemKind> {
    let kinds = [
        portcullis_core::problem::kinds::ALL,
        #[cfg(feature = "authn")]
        portcullis_authn::kinds::ALL,
        #[cfg(feature = "authz")]
        portcullis_authz::kinds::ALL,
        #[cfg(feature = "axum")]
        portcullis_axum::kinds::ALL,
        #[cfg(feature = "cache")]
        portcullis_cache::kinds::ALL,
        #[cfg(feature = "gateway")]
        portcullis_gateway::kinds::ALL,
        // Among the gateway's are these.
        #[cfg(all(feature = "resilience", not(feature = "gateway")))]
        portcullis_resilience::kinds::ALL,
        #[cfg(feature = "ratelimit")]
        portcullis_ratelimit::kinds::ALL,
    ];
    kinds.into_iter().flatten().copied()
}
