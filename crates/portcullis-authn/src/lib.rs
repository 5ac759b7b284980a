#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api_key;
mod authenticate;
mod bearer;
mod certificate;
mod jose;
pub mod kinds;
mod new_key;
#[cfg(feature = "passwords")]
mod password;
mod proof;
mod session;
mod token;
#[cfg(test)]
mod vectors;

pub use api_key::{ApiKey, ApiKeys};
pub use authenticate::{Authenticate, AuthenticateFuture, AuthenticateLayer};
pub use certificate::{CertificateHolder, ClientCertificates};
pub use jose::{Algorithm, Keys, KeysError, UnknownAlgorithm};
pub use new_key::NewApiKey;
#[cfg(feature = "passwords")]
pub use password::{
    Attempts, Looked, PasswordError, PasswordRule, PasswordRules, Passwords, PasswordsBuilder,
    TooMany,
};
pub use proof::SeenProofs;
pub use session::{
    MemorySessions, Session, SessionDigest, SessionError, SessionInfo, SessionRecord, SessionStore,
    Sessions, StoreError, Touch,
};
pub use token::{
    ClaimNames, FetchKeys, Introspect, Introspection, IssuerAnswer, RemoteKeys, TokenIssuer,
    TokenIssuerBuilder,
};
#[cfg(feature = "remote")]
pub use token::{IntrospectionUrl, JwksUrl, RemoteUrlError};
