//! What was found out about tokens a moment ago.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

/// Remembers what was found out about tokens, by their digest and for as long as it counts. Nothing else is asked than a hash and a look-up.
///
/// It belongs to one set of issuers and keys, so that no verdict is that of another one; a layer with other keys begins anew.
pub(crate) struct Remembered<T> {
    shards: Vec<Mutex<HashMap<Fingerprint, Known<T>>>>,
    most: usize,
}

struct Known<T> {
    what: T,
    by: JudgedBy,
    until: SystemTime,
}

/// By which keys of which issuer a token was judged, or by its word. With others it is judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JudgedBy {
    /// Its place in the layer.
    pub(crate) issuer: usize,
    /// None where the issuer was asked.
    pub(crate) version: Option<u64>,
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
    /// What is known of a token, if it counts still.
    pub(crate) fn get(&self, token: Fingerprint, now: SystemTime) -> Option<(T, JudgedBy)> {
        let mut shard = self.shard(token)?;
        let known = shard.get(&token)?;
        if now < known.until {
            return Some((known.what.clone(), known.by));
        }
        shard.remove(&token);
        None
    }
    pub(crate) fn remember(
        &self,
        token: Fingerprint,
        judged: (T, JudgedBy),
        until: SystemTime,
        now: SystemTime,
    ) {
        if self.most == 0 || until <= now {
            return;
        }
        let Some(mut shard) = self.shard(token) else { return };
        if shard.len() >= self.most {
            shard.retain(|_, known| now < known.until);
        }
        if shard.len() >= self.most {
            // To find it out once more costs little.
            shard.clear();
        }
        let (what, by) = judged;
        shard.insert(token, Known { what, by, until });
    }
}

impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("most", &(self.most * SHARDS)).finish_non_exhaustive()
    }
}
