//! Bearer tokens that are JWTs (RFC 7519), by the rules of RFC 8725.
mod claims;
mod issuer;
mod remembered;
mod source;
#[cfg(test)]
mod tests;
#[cfg(feature = "remote")]
mod url;

pub use claims::ClaimNames;
pub(crate) use issuer::claims_of;
pub use issuer::{JwtIssuer, JwtIssuerBuilder};
pub(crate) use remembered::{Fingerprint, JudgedBy, Remembered};
pub(crate) use source::Now;
pub use source::{FetchKeys, RemoteKeys};
#[cfg(feature = "remote")]
pub use url::{JwksUrl, JwksUrlError};
