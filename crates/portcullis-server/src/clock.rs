//! A clock that is read for nothing and is right to a fifth of a second.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

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
