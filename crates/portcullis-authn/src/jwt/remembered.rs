//! Tokens that were good a moment ago.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::Identity;

/// Remembers tokens that were verified, by their digest and until they are over. Nothing else is asked than a hash and a look-up.
///
/// It belongs to one set of issuers and keys, so that no verdict is that of another one; a layer with other keys begins anew.
pub(crate) struct Remembered {
    shards: Vec<Mutex<HashMap<[u8; 32], Known>>>,
    most: usize,
}

struct Known {
    identity: Identity,
    by: JudgedBy,
    until: SystemTime,
}

/// By which keys of which issuer a token was judged. With others it is judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JudgedBy {
    /// Its place in the layer.
    pub(crate) issuer: usize,
    pub(crate) version: u64,
}

/// By the first byte of the digest.
const SHARDS: usize = 16;

/// What a token is known by.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
}

impl Remembered {
    /// Up to `most` tokens.
    pub(crate) fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, most: most.div_ceil(SHARDS) }
    }
    fn shard(&self, of: Fingerprint) -> Option<MutexGuard<'_, HashMap<[u8; 32], Known>>> {
        let first = of.0.first().copied().unwrap_or_default();
        let shard = self.shards.get(usize::from(first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Whose token it is, if it was good and is still.
    pub(crate) fn get(&self, token: Fingerprint, now: SystemTime) -> Option<(Identity, JudgedBy)> {
        let mut shard = self.shard(token)?;
        let known = shard.get(&token.0)?;
        if now < known.until {
            return Some((known.identity.clone(), known.by));
        }
        shard.remove(&token.0);
        None
    }
    pub(crate) fn remember(
        &self,
        token: Fingerprint,
        judged: (Identity, JudgedBy),
        until: SystemTime,
        now: SystemTime,
    ) {
        if self.most == 0 {
            return;
        }
        let Some(mut shard) = self.shard(token) else { return };
        if shard.len() >= self.most {
            shard.retain(|_, known| now < known.until);
        }
        if shard.len() >= self.most {
            // Only tokens that are good are in it: to verify them once more costs little.
            shard.clear();
        }
        let (identity, by) = judged;
        shard.insert(token.0, Known { identity, by, until });
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("most", &(self.most * SHARDS)).finish_non_exhaustive()
    }
}
