//! `[stores]`.
use super::{Key, Kind, key};

pub(crate) const STORE: &[Key] = &[
    key(
        "sql",
        Kind::Text,
        "A database: `postgres://user:password@host/database`, `mysql://..`, `sqlite://portcullis.db`. `portcullis migrate` makes its tables.",
    ),
    key(
        "redis",
        Kind::Text,
        "A Redis server: `redis://127.0.0.1:6379`. It keeps sessions, and counts limits.",
    ),
    key("prefix", Kind::Text, "What the names of keys in Redis begin with. Default: `portcullis`."),
];
