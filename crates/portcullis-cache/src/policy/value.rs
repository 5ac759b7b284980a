//! Heads for application data, which has no head of its own.
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::{Facts, Flags, Moment, Stored, Times};
use crate::Scope;

impl Stored {
    /// The head of a value that an application keeps for `ttl` from now on, in whole seconds, of which a part counts as one, and that can be purged by each of the tags.
    pub fn value(ttl: Duration, tags: &[&str], now: Moment) -> Self {
        let lifetime = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let lifetime = u32::try_from(lifetime).unwrap_or(u32::MAX);
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            times: Times { requested: now, received: now },
            vary: SmallVec::new(),
            tags: tags.iter().map(|tag| Arc::from(*tag)).collect(),
            scope: Scope::Public,
            // No request gets it: its key has no URL.
            is_explicitly_public: false,
            facts: Facts {
                date: now,
                age: 0,
                lifetime,
                while_revalidating: 0,
                if_error: 0,
                flags: Flags::default(),
            },
            search: None,
        }
    }
    /// Whether a value that was kept for `ttl` is still good.
    pub(crate) fn is_good_value(&self, ttl: Duration, now: Moment) -> bool {
        // To the millisecond: what stores know are seconds.
        let most = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let most = most.min(u64::from(self.facts.lifetime).saturating_mul(1_000));
        now.0.saturating_sub(self.times.received.0) < most
    }
}
