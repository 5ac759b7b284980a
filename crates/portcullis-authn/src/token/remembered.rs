//! What was found out about tokens a moment ago.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

/// Remembers what was found out about tokens, by their digest and for as long as it counts. Nothing else is asked than a hash and a look-up.
///
/// It belongs to one set of issuers, or to one issuer, so that nothing is said of another one's token.
pub(crate) struct Remembered<T> {
    shards: Vec<Mutex<HashMap<Fingerprint, Known<T>>>>,
    most: usize,
}

struct Known<T> {
    what: T,
    until: SystemTime,
}

/// By the first byte of the digest.
const SHARDS: usize = 16;

/// What a token is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl<T: Clone> Remembered<T> {
    /// Up to `most` tokens.
    pub(crate) fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, most: most.div_ceil(SHARDS) }
    }
    fn shard(&self, of: Fingerprint) -> Option<MutexGuard<'_, HashMap<Fingerprint, Known<T>>>> {
        let first = of.0.first().copied().unwrap_or_default();
        let shard = self.shards.get(usize::from(first) % SHARDS)?;
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
