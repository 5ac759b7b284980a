//! A few counters by name.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::OTHER;

/// Up to `N` counters, each with a name; what finds no place is counted together.
///
/// Invariant: places are taken from the front, so a name has at most one. Whoever looks for a name passes every
/// place before the first free one, and only the first free one is taken.
pub(super) struct Counters<const N: usize> {
    places: [OnceLock<(&'static str, AtomicU64)>; N],
    rest: AtomicU64,
}

impl<const N: usize> Counters<N> {
    pub(super) const fn new() -> Self {
        Self { places: [const { OnceLock::new() }; N], rest: AtomicU64::new(0) }
    }
    pub(super) fn add(&self, name: &'static str) {
        let counter = self.places.iter().find_map(|place| {
            let (taken, counter) = place.get_or_init(|| (name, AtomicU64::new(0)));
            (*taken == name).then_some(counter)
        });
        counter.unwrap_or(&self.rest).fetch_add(1, Ordering::Relaxed);
    }
    /// The counts so far.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rest = self.rest.load(Ordering::Relaxed);
        let named = self.places.iter().map_while(OnceLock::get);
        named
            .map(|(name, counter)| (*name, counter.load(Ordering::Relaxed)))
            .chain((rest > 0).then_some((OTHER, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_counted_together() {
        let counters = Counters::<2>::new();
        for name in ["a", "b", "a", "c", "d", "b", "a"] {
            counters.add(name);
        }
        let counts: Vec<_> = counters.counts().collect();
        assert_eq!(counts, [("a", 3), ("b", 2), (OTHER, 2)]);
    }
}
