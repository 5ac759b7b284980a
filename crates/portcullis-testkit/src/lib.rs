#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
pub mod contract;
mod fail;
mod read;
mod ready_guard;
#[cfg(feature = "stores")]
mod sessions;
mod stub;
mod time;
mod user;

pub use client::{TestClient, TestRequest, TestResponse, get, request};
pub use contract::Contract;
pub use read::{collect, read};
pub use ready_guard::ReadyGuard;
#[cfg(feature = "stores")]
pub use sessions::session_store_contract;
pub use stub::{StubAuthenticate, StubAuthenticateLayer};
pub use time::FakeTime;
pub use user::{AsUser, as_service, as_user};
