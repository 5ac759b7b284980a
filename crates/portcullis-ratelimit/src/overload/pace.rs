//! How quickly a queue gets on.
use std::time::{Duration, Instant};

/// Measures how long it takes from one request that is served to the next, so that one that cannot be served soon is told at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    /// The usual distance.
    distance: Option<Duration>,
}

impl Pace {
    /// One that has waited since `since` is served at `now`.
    pub(super) fn served(&mut self, since: Instant, now: Instant) {
        // Before it came nobody waited, and the distance says nothing.
        let from = self.last.map_or(since, |last| last.max(since));
        let distance = now.saturating_duration_since(from);
        self.distance = Some(self.distance.map_or(distance, |usual| (usual * 3 + distance) / 4));
        self.last = Some(now);
    }
    /// How long one waits behind so many.
    pub(super) fn wait(&self, ahead: usize) -> Duration {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        self.distance.unwrap_or_default().saturating_mul(ahead.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Clock;

    use super::*;

    #[test]
    fn it_is_the_usual_distance_times_those_ahead() {
        let start = Clock::system().now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert_eq!(pace.wait(1_000), Duration::ZERO, "nothing is known yet");
        for (since, now, wait) in [
            (0, 10, 10),
            (0, 20, 10),
            // The queue was empty until 500.
            (500, 510, 10),
            (505, 560, 20),
        ] {
            pace.served(at(since), at(now));
            assert_eq!(pace.wait(0), Duration::from_millis(wait), "served at {now}");
        }
        assert_eq!(pace.wait(4), Duration::from_millis(100));
    }
}
