//! Bearer tokens that are JWTs (RFC 7519), by the rules of RFC 8725.
mod claims;
mod issuer;
mod remembered;
#[cfg(test)]
mod tests;

pub use claims::ClaimNames;
pub(crate) use issuer::claims_of;
pub use issuer::{JwtIssuer, JwtIssuerBuilder};
pub(crate) use remembered::{Fingerprint, Remembered};
