//! How long a request may take.
use std::time::{Duration, Instant};

/// How long a request may take, up to the head of its response.
///
/// The edge records the start and the client's wish; the route sets the limit; the earlier of the two holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    start: Instant,
    at: Option<Instant>,
}

impl Deadline {
    /// No limit so far, for a request that began at `start`.
    pub const fn starting(start: Instant) -> Self {
        Self { start, at: None }
    }
    /// The same deadline, or `limit` after the start if that is earlier: it can only be shortened.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        let Some(limit) = self.start.checked_add(limit) else { return self };
        Self { at: Some(self.at.map_or(limit, |at| at.min(limit))), ..self }
    }
    /// When the request began.
    pub const fn start(&self) -> Instant {
        self.start
    }
    /// When it must have been answered.
    pub const fn at(&self) -> Option<Instant> {
        self.at
    }
    /// How much is left at `now`; `None` without a limit.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(now))
    }
    /// Whether it has passed: expired work is not started.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    #[test]
    fn a_deadline_can_only_be_shortened() {
        let start = Clock::system().now();
        let second = Duration::from_secs(1);
        let deadline = Deadline::starting(start);
        assert_eq!(deadline.remaining(start), None);
        let deadline = deadline.at_most(second * 3).at_most(second * 5).at_most(Duration::MAX);
        assert_eq!(deadline.remaining(start + second), Some(second * 2));
        assert!(
            !deadline.is_expired(start + second * 2) && deadline.is_expired(start + second * 3)
        );
    }
}
