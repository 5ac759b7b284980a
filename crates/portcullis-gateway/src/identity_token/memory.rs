//! Tokens that were signed a moment ago.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;
use portcullis_core::Identity;

/// The token of each caller. It is that of one very identity: another one of the same caller, which may say something else of them, gets its own.
pub(super) struct Memory {
    shards: [Mutex<HashMap<u128, Known>>; SHARDS],
}

struct Known {
    identity: Identity,
    value: HeaderValue,
    until: SystemTime,
}

const SHARDS: usize = 16;
/// How many callers are known in each.
const ROOM: usize = 1_000;

impl Default for Memory {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Memory {
    fn shard(&self, of: u128) -> &Mutex<HashMap<u128, Known>> {
        let at = usize::try_from(of % SHARDS as u128).unwrap_or_default();
        self.shards.get(at).unwrap_or(&self.shards[0])
    }
    pub(super) fn get(&self, identity: &Identity, now: SystemTime) -> Option<HeaderValue> {
        let name = identity.fingerprint();
        let shard = self.shard(name).lock().unwrap_or_else(PoisonError::into_inner);
        let known = shard.get(&name).filter(|known| known.identity.is(identity));
        known.filter(|known| now < known.until).map(|known| known.value.clone())
    }
    pub(super) fn remember(
        &self,
        identity: &Identity,
        value: HeaderValue,
        until: SystemTime,
        now: SystemTime,
    ) {
        let name = identity.fingerprint();
        let mut shard = self.shard(name).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= ROOM {
            shard.retain(|_, known| now < known.until);
        }
        if shard.len() >= ROOM {
            // To sign once more costs little.
            let some: Vec<_> = shard.keys().take(ROOM / 8).copied().collect();
            for name in some {
                shard.remove(&name);
            }
        }
        shard.insert(name, Known { identity: identity.clone(), value, until });
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}
