#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api_key;
mod authenticate;
mod bearer;
mod certificate;
mod jose;
pub mod kinds;
mod new_key;
mod proof;
mod session;
mod token;

pub use api_key::{ApiKey, ApiKeys};
pub use authenticate::{Authenticate, AuthenticateFuture, AuthenticateLayer};
pub use certificate::{CertificateHolder, ClientCertificates};
pub use jose::{Algorithm, Keys, KeysError, UnknownAlgorithm};
pub use new_key::NewApiKey;
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
