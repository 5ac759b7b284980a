//! How long to wait before the next try.
use std::time::Duration;

/// How long to wait before the next try: anything up to a bound that doubles each time, so that those who failed together do not come
/// again together. (Known as full jitter, from Marc Brooker's article on exponential backoff.)
///
/// ```
/// use std::time::Duration;
/// use portcullis_resilience::Backoff;
/// let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// assert!(backoff.delay(0) <= Duration::from_millis(50));
/// assert!(backoff.delay(30) <= Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Default for Backoff {
    /// Up to 25 ms at first, up to 1 s later.
    fn default() -> Self {
        Self::new(Duration::from_millis(25), Duration::from_secs(1))
    }
}

impl Backoff {
    /// Up to `first` before the second try, up to twice as long before each further one, and never longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }
    /// The bound of the wait before another try, when so many were tried again before.
    pub fn bound(&self, retries: u32) -> Duration {
        let factor = 1_u32.checked_shl(retries).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
    /// As [`delay`](Self::delay), where a server asks to be left alone for a while (`Retry-After`): at least so long, and `None` where that is
    /// more than this ever waits. Then nobody is better served by waiting.
    pub fn delay_of(&self, retries: u32, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.unwrap_or_default();
        (asked <= self.longest).then(|| self.delay(retries).max(asked))
    }
    /// How long to wait before another try, when so many were tried again before.
    pub fn delay(&self, retries: u32) -> Duration {
        self.bound(retries).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_ends() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (0..8).map(|retries| backoff.bound(retries).as_millis()).collect();
        assert_eq!(bounds, [25, 50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.bound(u32::MAX).as_secs(), 1);
        let delays: Vec<_> = (0..100).map(|_| backoff.delay(2)).collect();
        assert!(delays.iter().all(|delay| delay.as_millis() <= 100));
        assert!(delays.iter().max() > delays.iter().min(), "they differ");
        let asked = |seconds| backoff.delay_of(0, Some(Duration::from_secs(seconds)));
        assert_eq!((asked(1), asked(2)), (Some(Duration::from_secs(1)), None));
    }
}
