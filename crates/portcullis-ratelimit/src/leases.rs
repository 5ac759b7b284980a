//! Units that a process has taken ahead, and hands out by itself.
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;
/// For how many keys there are leases at most.
const MOST: usize = 100_000;

/// What a process has taken ahead, for each key.
#[derive(Default)]
pub(crate) struct Leases(Shards);

struct Shards(Vec<Mutex<HashMap<u64, Arc<Lease>>>>);

/// What is taken ahead for one key.
#[derive(Default)]
pub(crate) struct Lease {
    state: Mutex<State>,
    /// One asks for all, so that a process has one lease of a key and no more.
    pub(crate) asking: Arc<tokio::sync::Mutex<()>>,
    /// How often asking has failed.
    failures: AtomicU32,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// How many units are left.
    left: u64,
    /// Until when the store need not be asked: it has no more.
    not_before: u64,
    /// How many units the store had left beyond.
    beyond: u64,
}

/// What comes of asking for some units.
pub(crate) enum Drawn {
    /// They are there; so many are left, here and in the store.
    Yes(u64),
    /// There are none for so many nanoseconds.
    No(u64),
    /// The store has to be asked.
    Ask,
}

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Leases {
    /// The lease of a key.
    pub(crate) fn of(&self, who: u64) -> Arc<Lease> {
        let shard = self.0.0.get(usize::try_from(who >> 32).unwrap_or_default() % SHARDS);
        let Some(shard) = shard else { return Arc::default() };
        let mut shard = lock(shard);
        if let Some(lease) = shard.get(&who) {
            return Arc::clone(lease);
        }
        if shard.len() >= MOST / SHARDS {
            // One that nobody holds just now, of a few the one with the least; its units are lost to this process, and to nobody else.
            let idle = shard.iter().filter(|(_, lease)| Arc::strong_count(lease) == 1).take(8);
            let least = idle.min_by_key(|(_, lease)| lease.units()).map(|(who, _)| *who);
            least.and_then(|who| shard.remove(&who));
        }
        let lease = Arc::<Lease>::default();
        shard.insert(who, Arc::clone(&lease));
        lease
    }
}

impl Lease {
    fn units(&self) -> u64 {
        lock(&self.state).left
    }
    /// Takes so many of the units, where as many are left as are needed.
    pub(crate) fn draw(&self, needs: u64, takes: u64, now: u64) -> Drawn {
        let mut state = lock(&self.state);
        if state.left >= needs {
            let left = state.left.saturating_sub(takes);
            state.left = left;
            return Drawn::Yes(left.saturating_add(state.beyond));
        }
        match state.not_before.checked_sub(now) {
            None | Some(0) => Drawn::Ask,
            Some(wait) => Drawn::No(wait),
        }
    }
    /// Adds what the store has given, how much it has left, and when it is to be asked again if this is used up.
    pub(crate) fn add(&self, units: u64, beyond: u64, not_before: u64) {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_add(units);
        (state.beyond, state.not_before) = (beyond, not_before);
    }
    /// Gives units back, up to so many that are left then; says how many are beyond that.
    pub(crate) fn put_back(&self, units: u64, most: u64) -> u64 {
        let mut state = lock(&self.state);
        let fit = most.saturating_sub(state.left).min(units);
        state.left = state.left.saturating_add(fit);
        units - fit
    }
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Acquire)
    }
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked under it left numbers that are whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
