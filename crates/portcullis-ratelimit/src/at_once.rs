//! How many requests are under way, for each key.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// How many requests are under way, for each key: as many keys as there are requests.
#[derive(Clone, Default)]
pub(crate) struct AtOnce(Arc<Shards>);

struct Shards([Mutex<HashMap<u64, u32>>; SHARDS]);

/// One request under way. Dropping it ends that.
pub(crate) struct Permit {
    all: AtOnce,
    who: u64,
}

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl AtOnce {
    /// One more of so many at most, and how many more may follow.
    pub(crate) fn enter(&self, who: u64, most: u32) -> Option<(Permit, u32)> {
        let mut shard = self.shard(who)?;
        let count = shard.entry(who).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        let left = most - *count;
        drop(shard);
        Some((Permit { all: self.clone(), who }, left))
    }
    fn shard(&self, who: u64) -> Option<MutexGuard<'_, HashMap<u64, u32>>> {
        let shards = &self.0.0;
        let shard = shards.get(usize::try_from(who >> 32).unwrap_or_default() % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(mut shard) = self.all.shard(self.who) else { return };
        if let Entry::Occupied(mut count) = shard.entry(self.who) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
