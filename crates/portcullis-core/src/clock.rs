//! All time: nothing else in portcullis asks the machine what time it is.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Where time comes from. A test gives a fake (`portcullis-testkit` has one that drives tokio's timers too).
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Time>>);

/// A source of time behind a [`Clock`].
pub trait Time: Send + Sync + fmt::Debug {
    /// A point on a clock that never goes back.
    fn now(&self) -> Instant;
    /// The calendar's time, which may jump.
    fn wall(&self) -> SystemTime;
}

/// Waiting. Core has no runtime of its own, so whoever has one provides this.
pub trait Sleep: Send + Sync + fmt::Debug {
    /// Completes once `duration` has passed. Dropping the future ends the wait.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Clock {
    /// The machine's own clocks. The default.
    pub const fn system() -> Self {
        Self(None)
    }
    /// A clock that asks `time`.
    pub fn new(time: impl Time + 'static) -> Self {
        Self(Some(Arc::new(time)))
    }
    /// A point on a clock that never goes back.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(time) => time.now(),
        }
    }
    /// The calendar's time, which may jump: for dates, never for measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(time) => time.wall(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Clock(system)"),
            Some(time) => f.debug_tuple("Clock").field(time).finish(),
        }
    }
}
