//! Bearer tokens: those that are signed (RFC 7519), by the rules of RFC 8725, and those that their issuer is asked about (RFC 7662).
mod binding;
mod claims;
#[cfg(feature = "remote")]
mod client;
mod fingerprint;
mod introspection;
mod issuer;
mod remembered;
mod rules;
mod source;
#[cfg(test)]
mod tests;
#[cfg(feature = "remote")]
mod url;

pub use claims::ClaimNames;
#[cfg(feature = "remote")]
pub use client::RemoteUrlError;
pub(crate) use fingerprint::Fingerprint;
pub(crate) use introspection::{Answer, Told};
pub use introspection::{Introspect, Introspection};
pub(crate) use issuer::claims_of;
pub use issuer::{TokenIssuer, TokenIssuerBuilder};
pub(crate) use remembered::Remembered;
pub(crate) use rules::Judged;
pub(crate) use source::Now;
pub use source::{FetchKeys, IssuerAnswer, RemoteKeys};
#[cfg(feature = "remote")]
pub use url::{IntrospectionUrl, JwksUrl};
