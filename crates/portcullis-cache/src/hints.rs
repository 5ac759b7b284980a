//! What is remembered of responses that could not be stored, so that nobody waits for the next one.
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;

use crate::policy::Moment;

/// How many things are remembered. Two that meet at one place displace each other, which costs one wait.
const PLACES: usize = 1 << 14;
/// For how long, in seconds.
const LONG: u64 = 60;
/// How often in a row nothing below a path could be stored until nobody waits for anything there.
const OFTEN: u64 = 4;

/// What could not be stored lately. Bounded, and without a lock.
#[derive(Debug)]
pub(crate) struct Hints {
    hasher: RandomState,
    keys: Box<[AtomicU64]>,
    /// Of the paths above them: how often in a row.
    above: Box<[AtomicU64]>,
}

impl Default for Hints {
    fn default() -> Self {
        let places = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::default(), keys: places(), above: places() }
    }
}

impl Hints {
    /// Whether a response to this is not worth waiting for.
    pub(crate) fn is_unshared(&self, key: &[u8], above: &[u8], now: Moment) -> bool {
        let says = |places: &[AtomicU64], what: &[u8]| {
            let (place, name) = self.place(places, what)?;
            let (named, until, often) = Self::read(place);
            (named == name && seconds(now) <= until).then_some(often)
        };
        says(&self.keys, key).is_some()
            || says(&self.above, above).is_some_and(|often| often >= OFTEN)
    }
    /// A response to it could not be stored.
    pub(crate) fn unshared(&self, key: &[u8], above: &[u8], now: Moment) {
        // One thing that is asked for again and again says nothing about its neighbours.
        if !self.note(&self.keys, key, now) {
            self.note(&self.above, above, now);
        }
    }
    /// Notes it once more; whether it was known.
    fn note(&self, places: &[AtomicU64], what: &[u8], now: Moment) -> bool {
        let Some((place, name)) = self.place(places, what) else { return true };
        let (named, until, often) = Self::read(place);
        let is_known = named == name && seconds(now) <= until;
        let often = if is_known { (often + 1).min(OFTEN) } else { 1 };
        place.store(name << 32 | ((seconds(now) + LONG) << 4) | often, Relaxed);
        is_known
    }
    /// A response to it could be stored.
    pub(crate) fn shared(&self, key: &[u8], above: &[u8]) {
        for (places, what) in [(&self.keys, key), (&self.above, above)] {
            if let Some((place, name)) = self.place(places, what)
                && Self::read(place).0 == name
            {
                place.store(0, Relaxed);
            }
        }
    }
    /// Whose place it is, until which second it is remembered, and how often it was so.
    fn read(place: &AtomicU64) -> (u64, u64, u64) {
        let said = place.load(Relaxed);
        (said >> 32, (said >> 4) & MOST_SECONDS, said & 0xf)
    }
    /// The place of something, and its name there, which is never 0.
    fn place<'a>(&self, places: &'a [AtomicU64], what: &[u8]) -> Option<(&'a AtomicU64, u64)> {
        let hash = self.hasher.hash_one(what);
        let at = usize::try_from(hash & 0xffff_ffff).ok()? % PLACES;
        Some((places.get(at)?, (hash >> 32).max(1)))
    }
}

/// Seconds in 28 bits, which go round in eight years.
const MOST_SECONDS: u64 = (1 << 28) - 1;

fn seconds(now: Moment) -> u64 {
    (now.0 / 1_000) % (MOST_SECONDS - LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_stored_is_remembered_for_a_while_and_forgotten_when_it_could() {
        let (hints, now, later) = (Hints::default(), Moment(1_000_000), Moment(1_061_001));
        let one = |now| hints.is_unshared(b"one", b"above", now);
        assert!(!one(now));
        hints.unshared(b"one", b"above", now);
        assert!(one(now) && !hints.is_unshared(b"two", b"above", now) && !one(later));
        hints.shared(b"one", b"above");
        assert!(!one(now));
    }

    #[test]
    fn where_nothing_could_be_stored_nobody_waits_for_what_is_not_known_yet() {
        let (hints, now) = (Hints::default(), Moment(1_000_000));
        for key in [b"a", b"b", b"c", b"d"] {
            assert!(!hints.is_unshared(b"new", b"above", now));
            hints.unshared(key, b"above", now);
        }
        assert!(hints.is_unshared(b"new", b"above", now));
        hints.shared(b"new", b"above");
        assert!(!hints.is_unshared(b"new", b"above", now));
    }
}
