//! What was found out about tokens a moment ago.
use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use foldhash::quality::RandomState;

use super::fingerprint::Fingerprint;

/// Remembers what was found out about tokens, for as long as it counts. Nothing else is asked than a hash and a look-up.
///
/// It belongs to one set of issuers, or to one issuer, so that nothing is said of another one's token.
pub(crate) struct Remembered<T> {
    shards: Vec<Mutex<Shard<T>>>,
    hasher: RandomState,
    most: usize,
}

/// Where something stands is not for anybody to see either, so the hash has a seed.
type Shard<T> = HashMap<Fingerprint, Known<T>, RandomState>;

struct Known<T> {
    what: T,
    until: SystemTime,
}

const SHARDS: usize = 16;

impl<T: Clone> Remembered<T> {
    /// Up to `most` tokens.
    pub(crate) fn new(most: usize) -> Self {
        Fingerprint::prepare();
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::default(), most: most.div_ceil(SHARDS) }
    }
    fn shard(&self, of: Fingerprint) -> Option<MutexGuard<'_, Shard<T>>> {
        // Bits that the map within does not look at first.
        let at = (self.hasher.hash_one(of) >> 32) as usize % SHARDS;
        let shard = self.shards.get(at)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// What is known of a token, and until when that counts, if it does.
    pub(crate) fn get(&self, token: Fingerprint, now: SystemTime) -> Option<(T, SystemTime)> {
        let mut shard = self.shard(token)?;
        let known = shard.get(&token)?;
        if now < known.until {
            return Some((known.what.clone(), known.until));
        }
        shard.remove(&token);
        None
    }
    pub(crate) fn remember(&self, token: Fingerprint, what: T, until: SystemTime, now: SystemTime) {
        if self.most == 0 || until <= now {
            return;
        }
        let Some(mut shard) = self.shard(token) else { return };
        if shard.len() >= self.most {
            shard.retain(|_, known| now < known.until);
        }
        if shard.len() >= self.most {
            // Not all at once: to find them out again may cost a question each.
            let some: Vec<_> = shard.keys().take(self.most.div_ceil(8)).copied().collect();
            for token in some {
                shard.remove(&token);
            }
        }
        shard.insert(token, Known { what, until });
    }
}

impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("most", &(self.most * SHARDS)).finish_non_exhaustive()
    }
}
