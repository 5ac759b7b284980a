//! Signed tokens (RFC 7515) and the keys that they are verified with (RFC 7517, RFC 7518): what is refused before anybody looks at a claim.
mod algorithm;
mod brought;
mod compact;
mod json;
mod key;
mod keys;
#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub(crate) use brought::BroughtKey;
pub(crate) use compact::Token;
pub(crate) use json::object;
pub use keys::{Keys, KeysError};

/// Why a token is not valid. It is for the log: a client hears only that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// It cannot be read, or could be read in more than one way.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// It asks for something that nobody here does.
    #[error("the token is not of a kind that is accepted: {0}")]
    Unacceptable(&'static str),
    #[error("its issuer says that the token is not good")]
    Inactive,
    /// No key is known for it. Another look at the issuer's keys may help.
    #[error("no known key is meant by the token")]
    UnknownKey,
    #[error("the signature does not fit")]
    Signature,
    /// A claim is not as it must be.
    #[error("the claim `{0}` {1}")]
    Claim(&'static str, &'static str),
}
