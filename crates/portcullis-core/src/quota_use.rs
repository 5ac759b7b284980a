//! What a request has used of a quota.
use std::sync::Arc;
use std::time::Duration;

/// What the caller of a request has left of one quota. A limit layer says it; a handler can show it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUse {
    /// The name of the quota, and of its bound where it has several.
    pub name: Arc<str>,
    /// How many units it has at most.
    pub limit: u64,
    /// How many are left, this request taken off.
    pub remaining: u64,
    /// In what time there are more: all of them, or the next one where none is left.
    pub reset: Duration,
}

impl QuotaUse {
    /// As a limit layer says it.
    pub fn new(name: Arc<str>, limit: u64, remaining: u64, reset: Duration) -> Self {
        Self { name, limit, remaining, reset }
    }
}
