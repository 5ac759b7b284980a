//! A clock that is read for nothing and is right to a fifth of a second.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// A clock that somebody moves on with [`refresh`](Self::refresh): reading it is one load from memory.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    start: Instant,
    now: AtomicU32,
}

impl CoarseClock {
    /// What one tick is.
    pub(crate) const TICK: Duration = Duration::from_millis(200);

    pub(crate) fn new() -> Self {
        // Tokio's clock, which stands still with its timers in a test.
        Self { start: Instant::now(), now: AtomicU32::new(0) }
    }
    /// The ticks since the beginning, as of the last refresh. They last for 27 years.
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }
    pub(crate) fn refresh(&self) -> u32 {
        let now = Self::ticks(self.start.elapsed());
        self.now.store(now, Relaxed);
        now
    }
    /// A duration in whole ticks.
    pub(crate) fn ticks(duration: Duration) -> u32 {
        let ticks = duration.as_millis() / Self::TICK.as_millis();
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// The time limits that the sweeper knows, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) header: u32,
    pub(crate) idle: u32,
    pub(crate) write: u32,
    byte_rate: u64,
}

impl Ticks {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            header: CoarseClock::ticks(limits.header_time),
            idle: CoarseClock::ticks(limits.idle_time),
            write: CoarseClock::ticks(limits.write_idle),
            byte_rate: u64::from(limits.byte_rate),
        }
    }
    pub(crate) fn is_too_slow(&self, bytes: u64, ticks: u32) -> bool {
        let millis = u128::from(ticks) * CoarseClock::TICK.as_millis();
        u128::from(bytes) * 1_000 < u128::from(self.byte_rate) * millis
    }
}
