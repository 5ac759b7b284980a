#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api_key;
mod authenticate;
mod bearer;
mod certificate;
mod jose;
mod jwt;
pub mod kinds;
mod new_key;

pub use api_key::{ApiKey, ApiKeys};
pub use authenticate::{Authenticate, AuthenticateFuture, AuthenticateLayer};
pub use certificate::{CertificateHolder, ClientCertificates};
pub use jose::{Algorithm, Keys, KeysError, UnknownAlgorithm};
pub use jwt::{ClaimNames, FetchKeys, JwtIssuer, JwtIssuerBuilder, RemoteKeys};
#[cfg(feature = "remote")]
pub use jwt::{JwksUrl, JwksUrlError};
pub use new_key::NewApiKey;
