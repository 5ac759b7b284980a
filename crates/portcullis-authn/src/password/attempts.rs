//! How many passwords may be tried.
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::SECOND;
use super::rules::spelled;
use crate::kinds::ATTEMPTS_EXHAUSTED;
use portcullis_core::{ClientAddr, Clock, Problem};

/// Counts tries, for each account and for each address, before anybody hashes anything. Cheap to clone; clones count together.
///
/// An account has 10 tries, and gets one back every 30 s; an address has 30, and gets one back every 2 s (IPv6 by /64). Nobody is locked out for good, and who tries once more
/// while there is none left waits no longer for it. All spellings of an account are one. A try that was right gives the account its tries back.
#[derive(Clone)]
pub struct Attempts(Arc<Inner>);

struct Inner {
    clock: Clock,
    account: Allowance,
    address: Allowance,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<u64, Instant>>>,
}

/// How many tries there are at once, and how soon one comes back.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    burst: u32,
    every: Duration,
}

/// There have been too many tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("too many tries; there is another one in {} s", .after.as_secs().max(1))]
pub struct TooMany {
    /// When there is another one.
    pub after: Duration,
    /// Whether it is the account that has none left, and not the address.
    pub is_of_account: bool,
}

impl From<TooMany> for Problem {
    fn from(error: TooMany) -> Self {
        let after = error.after.as_secs().max(1);
        let seconds = http::HeaderValue::from(after);
        let problem = Self::new(ATTEMPTS_EXHAUSTED).detail(format!("try again in {after} s"));
        problem.header(http::header::RETRY_AFTER, seconds).retry_is_safe()
    }
}

const SHARDS: usize = 16;
/// How many accounts and addresses each shard knows. Beyond that those go first that have all their tries.
const ROOM: usize = 8_192;

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

impl Attempts {
    /// Counts from now on.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }
    /// The same, by this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            account: Allowance { burst: 10, every: Duration::from_secs(30) },
            address: Allowance { burst: 30, every: Duration::from_secs(2) },
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        // Before it is shared; afterwards nothing changes.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            edit(inner);
        }
        self
    }
    /// How many tries an account has, and how soon one comes back. Say it before it is cloned.
    #[must_use]
    pub fn by_account(self, burst: u32, every: Duration) -> Self {
        self.edit(|inner| inner.account = Allowance { burst: burst.max(1), every })
    }
    /// How many tries an address has, and how soon one comes back. Say it before it is cloned.
    #[must_use]
    pub fn by_address(self, burst: u32, every: Duration) -> Self {
        self.edit(|inner| inner.address = Allowance { burst: burst.max(1), every })
    }
    /// Counts a try, before its password is looked at.
    ///
    /// # Errors
    /// There is none left. Where it is the account that has none, it counts for the address.
    pub fn begin(&self, account: &str, address: Option<ClientAddr>) -> Result<(), TooMany> {
        let inner = &*self.0;
        // The address first: whoever has none left takes none from an account.
        if let Some(address) = address {
            self.take(inner.name("address", &address.key()), inner.address)?;
        }
        let allowed = self.take(inner.name("account", &spelled(account)), inner.account);
        allowed.map_err(|error| TooMany { is_of_account: true, ..error })
    }
    /// A try was right: the account has all its tries again.
    pub fn succeeded(&self, account: &str) {
        let name = self.0.name("account", &spelled(account));
        if let Some(mut shard) = self.shard(name) {
            shard.remove(&name);
        }
    }
    fn shard(&self, name: u64) -> Option<MutexGuard<'_, HashMap<u64, Instant>>> {
        let at = usize::try_from(name % SHARDS as u64).unwrap_or_default();
        Some(self.0.shards.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Takes one try (the generic cell rate algorithm, ITU-T I.371): what is kept is when all would be back.
    fn take(&self, name: u64, allowance: Allowance) -> Result<(), TooMany> {
        let now = self.0.clock.now();
        let Some(mut shard) = self.shard(name) else { return Ok(()) };
        let before = shard.get(&name).copied();
        let next = before.map_or(now, |all_back| all_back.max(now)) + allowance.every;
        let most = now + allowance.every * allowance.burst;
        if next > most {
            let after = next.saturating_duration_since(most).max(SECOND);
            return Err(TooMany { after, is_of_account: false });
        }
        if shard.len() >= ROOM && before.is_none() {
            shard.retain(|_, all_back| *all_back > now);
            if shard.len() >= ROOM {
                // Many at once, so that it is seldom done.
                let mut all: Vec<_> =
                    shard.iter().map(|(name, all_back)| (*all_back, *name)).collect();
                all.sort_unstable();
                for (_, name) in all.iter().take(ROOM / 8) {
                    shard.remove(name);
                }
            }
        }
        shard.insert(name, next);
        Ok(())
    }
}

impl Inner {
    /// Two names that collide share their tries; who tries cannot choose them, since the hash has a secret.
    fn name(&self, kind: &str, what: &impl std::hash::Hash) -> u64 {
        self.hasher.hash_one((kind, what))
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts")
            .field("account", &self.0.account)
            .field("address", &self.0.address)
            .finish_non_exhaustive()
    }
}
