//! How much each of many has under way.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
/// A map that once was larger than this gives its memory back.
const KEPT: usize = 64;

/// Counts by key. Who has nothing under way takes no memory.
#[derive(Debug)]
pub(crate) struct UnderWay {
    hasher: RandomState,
    shards: [Mutex<HashMap<u128, usize>>; SHARDS],
    keys: AtomicUsize,
}

impl Default for UnderWay {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { hasher: RandomState::new(), shards, keys: AtomicUsize::new(0) }
    }
}

impl UnderWay {
    /// Counts one more, if there were fewer than `most`. How many it has now; `None` where there were as many.
    pub(crate) fn add(&self, key: u128, most: usize) -> Option<usize> {
        let mut shard = self.shard(key);
        match shard.entry(key) {
            Entry::Occupied(entry) if *entry.get() >= most => None,
            Entry::Occupied(entry) => {
                let count = entry.into_mut();
                *count += 1;
                Some(*count)
            }
            Entry::Vacant(_) if most == 0 => None,
            Entry::Vacant(entry) => {
                entry.insert(1);
                self.keys.fetch_add(1, Relaxed);
                Some(1)
            }
        }
    }
    /// Counts one less.
    pub(crate) fn remove(&self, key: u128) {
        let mut shard = self.shard(key);
        let Entry::Occupied(mut entry) = shard.entry(key) else { return };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
            self.keys.fetch_sub(1, Relaxed);
            if shard.capacity() > KEPT && shard.len() * 4 < shard.capacity() {
                let half = shard.capacity() / 2;
                shard.shrink_to(half);
            }
        }
    }
    /// How many it has.
    pub(crate) fn get(&self, key: u128) -> usize {
        self.shard(key).get(&key).copied().unwrap_or_default()
    }
    /// How many keys have something under way.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, HashMap<u128, usize>> {
        let shard = usize::try_from(self.hasher.hash_one(key) >> 40).unwrap_or_default() % SHARDS;
        #[expect(
            clippy::indexing_slicing,
            reason = "there are as many shards as the remainder has values"
        )]
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_up_to_the_most_and_forgets_whoever_has_nothing() {
        let counts = UnderWay::default();
        assert_eq!([2, 2, 2].map(|most| counts.add(7, most)), [Some(1), Some(2), None]);
        assert_eq!((counts.add(8, 0), counts.get(7), counts.keys()), (None, 2, 1));
        counts.remove(7);
        counts.remove(7);
        counts.remove(7);
        assert_eq!((counts.get(7), counts.keys()), (0, 0));
    }

    #[test]
    fn after_a_hundred_thousand_strangers_no_memory_is_kept() {
        let counts = UnderWay::default();
        (0..100_000).for_each(|key| assert_eq!(counts.add(key, 1), Some(1)));
        (0..100_000).for_each(|key| counts.remove(key));
        let kept: usize = counts.shards.iter().map(|shard| shard.lock().unwrap().capacity()).sum();
        assert!(kept <= SHARDS * 2 * KEPT, "room for {kept} keys");
    }
}
