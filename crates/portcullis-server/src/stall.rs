//! How long a client leaves what is ready for it.
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::clock::Ticks;

/// How long the other end has kept us waiting for room to write. Ticks are stored plus one, so that zero is none.
#[derive(Default)]
pub(crate) struct Stall {
    since: AtomicU32,
    waited: AtomicU32,
    moved: AtomicU64,
}

impl Stall {
    pub(crate) fn begin(&self, now: u32) {
        if self.since.load(Relaxed) == 0 {
            self.since.store(now + 1, Relaxed);
        }
    }
    #[inline]
    pub(crate) fn moved(&self, bytes: u64, now: u32) {
        let since = self.since.load(Relaxed);
        if since != 0 {
            self.waited.fetch_add((now + 1).saturating_sub(since), Relaxed);
            self.moved.fetch_add(bytes, Relaxed);
            self.since.store(0, Relaxed);
        }
    }
    pub(crate) fn reset(&self) {
        if self.waited.load(Relaxed) != 0 || self.since.load(Relaxed) != 0 {
            self.since.store(0, Relaxed);
            self.waited.store(0, Relaxed);
            self.moved.store(0, Relaxed);
        }
    }
    pub(crate) fn is_too_long(&self, now: u32, limits: &Ticks) -> bool {
        let since = self.since.load(Relaxed);
        let waited = self.waited.load(Relaxed);
        if since == 0 && waited == 0 {
            return false;
        }
        let stalled = if since == 0 { 0 } else { (now + 1).saturating_sub(since) };
        let moved = self.moved.load(Relaxed);
        if stalled >= limits.write {
            return true;
        }
        if waited + stalled < limits.write {
            return false;
        }
        if limits.is_too_slow(moved, waited + stalled) {
            return true;
        }
        if waited >= limits.write {
            // What it took in this while does not pay for the next.
            self.waited.store(0, Relaxed);
            self.moved.store(0, Relaxed);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// Takes `bytes` after every wait of so many ticks. Answers when that was too slow.
    fn too_long_after(steps: impl IntoIterator<Item = (u32, u64)>) -> Option<u32> {
        // 150 ticks, and 240 bytes a second: 48 a tick.
        let limits = Ticks::of(&Limits::default());
        let (stall, mut now) = (Stall::default(), 0);
        for (ticks, bytes) in steps {
            stall.begin(now);
            for _ in 0..ticks {
                now += 1;
                if stall.is_too_long(now, &limits) {
                    return Some(now);
                }
            }
            stall.moved(bytes, now);
        }
        None
    }

    #[test]
    fn neither_the_wait_nor_the_average_may_be_too_long() {
        assert_eq!(too_long_after([(1_000, 0)]), Some(150), "it takes nothing");
        assert_eq!(too_long_after([(149, 1 << 20); 10]), None, "seldom, but much");
        assert_eq!(too_long_after([(1, 47); 1_000]), Some(150), "often, but too little");
        assert_eq!(too_long_after([(1, 49); 1_000]), None, "just enough");
        let begin = (10, 100 << 20);
        let trickle = std::iter::once(begin).chain([(100, 1); 10]);
        let end = too_long_after(trickle).unwrap();
        assert!(end < 500, "what it took at first does not pay for ever: {end}");
    }

    #[test]
    fn it_begins_anew_when_everything_is_written() {
        let (stall, limits) = (Stall::default(), Ticks::of(&Limits::default()));
        stall.begin(0);
        stall.reset();
        assert!(!stall.is_too_long(1_000, &limits));
        stall.begin(1_000);
        assert!(!stall.is_too_long(1_149, &limits) && stall.is_too_long(1_150, &limits));
    }
}
