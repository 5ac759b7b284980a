#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod connect;
mod limit_scripts;
mod limits;
mod news;
mod record;
mod scripts;
mod sessions;
mod tokens;

pub use cache::RedisCache;
pub use limits::RedisQuotas;
pub use news::RedisNews;
pub use redis::RedisError;
pub use sessions::RedisSessions;
pub use tokens::RedisTokens;
