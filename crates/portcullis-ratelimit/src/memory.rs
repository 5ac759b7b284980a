//! The counts, in memory: sharded, and bounded.
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::quota::Rate;

const SHARDS: usize = 64;

/// What is counted: a quota, and who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) quota: u32,
    pub(crate) who: Who,
}

/// Who uses a quota: a number that is unique within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Address(u128),
    Identity(u128),
    Unknown,
}

/// A slot with its hash: keyed, since a client can choose its address, and made once for shard and map together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hashed {
    hash: u64,
    quota: u32,
    kind: u8,
    number: [u8; 16],
}

impl Hashed {
    fn new(slot: Slot, hasher: &RandomState) -> Self {
        let (kind, number) = match slot.who {
            Who::Address(number) => (0, number),
            Who::Identity(number) => (1, number),
            Who::Unknown => (2, 0),
        };
        let place = u64::from(slot.quota) << 8 | u64::from(kind);
        let hash = hasher.hash_one((place, number));
        Self { hash, quota: slot.quota, kind, number: number.to_ne_bytes() }
    }
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that a slot has already.
#[derive(Clone, Copy, Debug, Default)]
struct HandOn(u64);

impl Hasher for HandOn {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("a slot writes its hash only");
    }
}

/// For each slot, until when its requests have taken up time.
#[derive(Debug)]
pub(crate) struct Memory {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    per_shard: usize,
}

#[derive(Debug, Default)]
struct Shard {
    used_until: HashMap<Hashed, u64, BuildHasherDefault<HandOn>>,
    /// How many slots have come since the last sweep.
    inserted: usize,
}

impl Memory {
    /// Holds about `capacity` slots at most.
    pub(crate) fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hasher: RandomState::new(), shards, per_shard: capacity.div_ceil(SHARDS).max(1) }
    }

    /// Counts a request at `now` against `slot`. An error says how long until it could go on.
    pub(crate) fn admit(&self, slot: Slot, rate: Rate, now: u64) -> Result<(), Duration> {
        let slot = Hashed::new(slot, &self.hasher);
        let mut shard = self.shard(slot);
        if let Some(used_until) = shard.used_until.get_mut(&slot) {
            *used_until = rate.admit(*used_until, now)?;
            return Ok(());
        }
        let used_until = rate.admit(0, now)?;
        if shard.used_until.len() >= self.per_shard {
            shard.make_room(self.per_shard, now);
        }
        shard.inserted += 1;
        shard.used_until.insert(slot, used_until);
        Ok(())
    }

    /// How long until a request at `now` could go on; it is not counted.
    pub(crate) fn wait(&self, slot: Slot, rate: Rate, now: u64) -> Option<Duration> {
        let slot = Hashed::new(slot, &self.hasher);
        let used_until = self.shard(slot).used_until.get(&slot).copied().unwrap_or_default();
        rate.admit(used_until, now).err()
    }

    /// Takes back one request that was counted against `slot`.
    pub(crate) fn take_back(&self, slot: Slot, rate: Rate) {
        let slot = Hashed::new(slot, &self.hasher);
        if let Some(used_until) = self.shard(slot).used_until.get_mut(&slot) {
            *used_until = rate.take_back(*used_until);
        }
    }

    fn shard(&self, slot: Hashed) -> MutexGuard<'_, Shard> {
        // The map looks at the lowest bits and the highest seven; these lie between.
        let shard = usize::try_from(slot.hash >> 40).unwrap_or_default() % SHARDS;
        #[expect(
            clippy::indexing_slicing,
            reason = "there are as many shards as the remainder has values"
        )]
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().used_until.len()).sum()
    }
}

impl Shard {
    /// Forgets who has nothing used up any more; if that does not help, of a few the one that has used least.
    fn make_room(&mut self, capacity: usize, now: u64) {
        // A sweep looks at every slot, so it has to be paid for: by as many inserts as half of what it looks at.
        if self.inserted * 2 >= capacity {
            self.inserted = 0;
            self.used_until.retain(|_, used_until| *used_until > now);
        }
        if self.used_until.len() >= capacity {
            let least = self.used_until.iter().take(8).min_by_key(|(_, used_until)| **used_until);
            if let Some(slot) = least.map(|(slot, _)| *slot) {
                self.used_until.remove(&slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::per_second;

    fn slot(who: u64) -> Slot {
        Slot { quota: 0, who: Who::Identity(who.into()) }
    }

    #[test]
    fn a_million_strangers_fit_and_the_hot_key_stays_counted() {
        let memory = Memory::new(1_000);
        let rate = per_second(5).rate();
        let hot = slot(u64::MAX);
        for _ in 0..5 {
            memory.admit(hot, rate, 1).unwrap();
        }
        for stranger in 0..100_000 {
            memory.admit(slot(stranger), rate, 1).unwrap();
            assert!(
                memory.admit(hot, rate, 1).is_err(),
                "the hot key was forgotten after {stranger}"
            );
        }
        assert!(memory.len() <= 1_024, "{}", memory.len());
    }

    #[test]
    fn threads_together_admit_exactly_the_quota() {
        let memory = Memory::new(1_000);
        let rate = per_second(1_000).rate();
        let admitted: usize = std::thread::scope(|scope| {
            let one = || (0..1_000).filter(|_| memory.admit(slot(7), rate, 1).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1_000);
    }
}
