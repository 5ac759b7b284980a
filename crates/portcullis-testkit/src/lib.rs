#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "stores")]
mod accounts;
#[cfg(feature = "stores")]
mod caches;
mod client;
pub mod contract;
#[cfg(feature = "stores")]
mod endpoints;
mod fail;
#[cfg(feature = "stores")]
mod quota_model;
#[cfg(feature = "stores")]
mod quotas;
mod read;
mod ready_guard;
#[cfg(feature = "stores")]
mod roles;
#[cfg(feature = "stores")]
mod sessions;
mod stub;
mod time;
mod user;

#[cfg(feature = "stores")]
pub use accounts::{key_store_contract, one_time_tokens_contract, users_contract};
#[cfg(feature = "stores")]
pub use caches::cache_store_contract;
pub use client::{TestClient, TestRequest, TestResponse, get, request};
pub use contract::Contract;
#[cfg(feature = "stores")]
pub use endpoints::{KeptMails, account_endpoints_contract};
#[cfg(feature = "stores")]
pub use quotas::quota_store_contract;
pub use read::{collect, read};
pub use ready_guard::ReadyGuard;
#[cfg(feature = "stores")]
pub use roles::role_store_contract;
#[cfg(feature = "stores")]
pub use sessions::session_store_contract;
pub use stub::{StubAuthenticate, StubAuthenticateLayer};
pub use time::FakeTime;
pub use user::{AsUser, as_service, as_user};
