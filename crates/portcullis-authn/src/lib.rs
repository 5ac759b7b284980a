#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "accounts")]
mod account;
mod api_key;
mod authenticate;
mod bearer;
mod certificate;
mod jose;
pub mod kinds;
mod new_key;
mod own_path;
#[cfg(feature = "passwords")]
mod password;
mod proof;
mod secret_id;
mod session;
mod stored_key;
mod token;
#[cfg(test)]
mod vectors;

#[cfg(feature = "accounts")]
pub use account::{
    Account, Accounts, AccountsBuilder, AccountsFuture, Email, LogMailer, Mail, MailKind, Mailer,
    MemoryTokens, MemoryUsers, OneTimeToken, OneTimeTokens, Page, PageKind, Pages, PlainPages,
    Purpose, Users,
};
#[cfg(feature = "smtp")]
pub use account::{SmtpError, SmtpMailer};
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
    CachedSessions, MemorySessions, Session, SessionDigest, SessionError, SessionInfo,
    SessionRecord, SessionStore, Sessions, StoreError, Touch,
};
pub use stored_key::{KeyRecord, KeyStore, MemoryKeys, StoredKeys};
pub use token::{
    ClaimNames, FetchKeys, Introspect, Introspection, IssuerAnswer, RemoteKeys, TokenIssuer,
    TokenIssuerBuilder,
};
#[cfg(feature = "remote")]
pub use token::{IntrospectionUrl, JwksUrl, RemoteUrlError};
