#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod balance;
mod body;
mod connect;
mod discover;
mod endpoint;
mod error;
mod health;
mod identity_token;
mod pool;
mod proxy;
mod redirect;
mod send;
mod server;
mod stats;
mod upload;
mod upstream;

pub use balance::{Balance, HashKey};
pub use connect::UpstreamTls;
pub use discover::{Discover, Discovered};
pub use endpoint::{Endpoint, EndpointFuture};
pub use error::kinds;
pub use health::{HealthCheck, Outliers};
pub use identity_token::{IdentityTokens, JwksEndpoint, SigningKey, SigningKeyError};
pub use proxy::{Forwarding, Host, IdentityFact, Proxy, ProxyFuture, Split};
pub use redirect::Redirect;
pub use stats::UpstreamStats;
pub use upstream::{ServerState, Upstream, UpstreamBuilder};
