//! A store that keeps failing is left alone.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many calls fail one after the other until a store is left alone, and for how long.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// Leaves a store alone that keeps failing: after three failures in a row for 250 ms, and then one call tries it again.
#[derive(Debug, Default)]
pub struct Respite {
    /// How many failures there were in a row.
    failures: AtomicU32,
    /// Until when it is left alone, in nanoseconds since its first failure; 0 where it is not.
    until: AtomicU64,
    epoch: OnceLock<Instant>,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Respite {
    /// For a store that works.
    pub fn new() -> Self {
        Self::default()
    }
    fn time(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        nanos(now.saturating_duration_since(epoch)).saturating_add(1)
    }
    /// Whether it is left alone now. Whoever asks this does not have to try it.
    pub fn is_on(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until > self.time(now)
    }
    /// Whether the store may be asked now. Whoever is told so asks, and says how it went.
    pub fn may_ask(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return true;
        }
        let now = self.time(now);
        let next = now.saturating_add(nanos(PAUSE));
        // Of those who come when it is over one tries; the others go on without.
        now >= until
            && self.until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
    /// It has answered. Whether it was left alone before.
    pub fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.until.load(Ordering::Relaxed) > 0 && self.until.swap(0, Ordering::Release) > 0
    }
    /// It has failed. Whether it is left alone from now on, and was not before.
    pub fn failed(&self, now: Instant) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES {
            return false;
        }
        let until = self.time(now).saturating_add(nanos(PAUSE));
        self.until.fetch_max(until, Ordering::AcqRel) == 0
    }
}
