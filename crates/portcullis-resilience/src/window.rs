//! How often something happened of late.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// In how many steps a window moves.
pub(crate) const STEPS: usize = 10;

/// Counts what happened within the last while, which moves on by a tenth of itself at a time. Nobody waits for anybody: what two
/// threads count at the very moment of a step may count for the one or the other.
#[derive(Debug)]
pub(crate) struct Window {
    step: Duration,
    /// The number of the step, and how often it happened in it: 32 bits each.
    steps: [AtomicU64; STEPS],
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        let step = (length / 10).max(Duration::from_millis(1));
        Self { step, steps: Default::default() }
    }
    /// The steps are numbered from 1, so that an empty place is of none.
    fn number(&self, now: Duration) -> u32 {
        let number = now.as_nanos() / self.step.as_nanos();
        u32::try_from(number).unwrap_or(u32::MAX - 1).saturating_add(1)
    }
    /// It happened; `now` is since some beginning.
    #[inline]
    pub(crate) fn add(&self, now: Duration) {
        let number = self.number(now);
        let Some(place) = self.steps.get(number as usize % STEPS) else { return };
        let mut seen = place.load(Relaxed);
        loop {
            let next = if step_of(seen) == number { seen + 1 } else { u64::from(number) << 32 | 1 };
            match place.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
    /// How often it happened in the last while.
    pub(crate) fn sum(&self, now: Duration) -> u64 {
        let number = self.number(now);
        let steps = self.steps.iter().map(|place| place.load(Relaxed));
        let recent = steps
            .filter(|seen| (number.saturating_sub(step_of(*seen)) as usize) < STEPS && *seen != 0);
        recent.map(|seen| seen & u64::from(u32::MAX)).sum()
    }
    /// As if nothing had happened.
    pub(crate) fn clear(&self) {
        for place in &self.steps {
            place.store(0, Relaxed);
        }
    }
}

fn step_of(seen: u64) -> u32 {
    u32::try_from(seen >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of everything that happened.
        #[test]
        fn counts_what_a_list_would(waits in proptest::collection::vec(0_u64..4_000, 1..200)) {
            let window = Window::new(Duration::from_secs(10));
            let (mut now, mut all) = (Duration::ZERO, Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait);
                if wait % 3 != 0 {
                    window.add(now);
                    all.push(now.as_secs());
                }
                let recent = all.iter().filter(|second| now.as_secs() - **second < 10).count();
                prop_assert_eq!(window.sum(now), recent as u64);
            }
        }
    }
}
