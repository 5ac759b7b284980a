//! How much more than the requests themselves may be sent.
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::Clock;

use crate::window::Window;

/// Bounds retries, and hedges, by a share of the requests: when everything fails, everybody who tries again makes it worse. Cheap to
/// clone; clones share it.
///
/// In every 10 s there are at most so many retries as the share of the requests in them, and 10 times the number a second that is
/// always allowed. (The rule is that of Finagle's `RetryBudget`.)
///
/// ```
/// use portcullis_resilience::RetryBudget;
/// let budget = RetryBudget::new(0.2, 0);
/// for _ in 0..10 {
///     budget.request();
/// }
/// assert!(budget.try_retry() && budget.try_retry());
/// assert!(!budget.try_retry(), "a fifth of ten are two");
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    share: f64,
    always: f64,
    requests: Window,
    retries: Window,
    clock: Clock,
    epoch: Instant,
}

/// How long what was sent counts.
const LENGTH: Duration = Duration::from_secs(10);

impl Default for RetryBudget {
    /// A fifth of the requests, and 10 a second.
    fn default() -> Self {
        Self::new(0.2, 10)
    }
}

impl RetryBudget {
    /// A share of the requests, and so many a second besides.
    pub fn new(share: f64, per_second: u32) -> Self {
        Self::with_clock(share, per_second, Clock::system())
    }
    /// As [`new`](Self::new), with a clock of one's own.
    pub fn with_clock(share: f64, per_second: u32, clock: Clock) -> Self {
        let always = f64::from(per_second) * LENGTH.as_secs_f64();
        let (requests, retries) = (Window::new(LENGTH), Window::new(LENGTH));
        let epoch = clock.now();
        Self(Arc::new(Inner { share: share.max(0.0), always, requests, retries, clock, epoch }))
    }
    fn now(&self) -> Duration {
        self.0.clock.now().saturating_duration_since(self.0.epoch)
    }
    /// A request is sent, for the first time.
    #[inline]
    pub fn request(&self) {
        self.request_at(self.0.clock.now());
    }
    /// As [`request`](Self::request), for who knows the time of the same clock already.
    #[inline]
    pub fn request_at(&self, now: Instant) {
        self.0.requests.add(now.saturating_duration_since(self.0.epoch));
    }
    /// Whether one may be sent once more; if so, it counts.
    pub fn try_retry(&self) -> bool {
        let now = self.now();
        #[expect(clippy::cast_precision_loss, reason = "counts of ten seconds")]
        let (requests, retries) = (self.0.requests.sum(now) as f64, self.0.retries.sum(now) as f64);
        let allowed = retries + 1.0 <= requests.mul_add(self.0.share, self.0.always) + 1e-9;
        if allowed {
            self.0.retries.add(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testkit::FakeTime;
    use proptest::prelude::*;

    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    fn count(all: &[u64], now: u64) -> f64 {
        all.iter().filter(|at| now / 1_000 - **at / 1_000 < 10).count() as f64
    }

    proptest! {
        /// In whatever order requests and failures come: in no ten seconds are there more retries than the rule says.
        #[test]
        fn never_more_than_the_rule_says(
            share in 0.0_f64..1.0,
            per_second in 0_u32..5,
            steps in proptest::collection::vec((0_u64..700, any::<bool>()), 1..400),
        ) {
            let time = FakeTime::new();
            let budget = RetryBudget::with_clock(share, per_second, time.clock());
            let (mut now, mut requests, mut retries) = (0_u64, Vec::new(), Vec::new());
            for (wait, asks) in steps {
                time.advance(Duration::from_millis(wait));
                now += wait;
                if asks {
                    budget.request();
                    requests.push(now);
                } else {
                    let most = count(&requests, now) * share + f64::from(per_second) * 10.0;
                    let want = count(&retries, now) + 1.0 <= most + 1e-9;
                    prop_assert_eq!(budget.try_retry(), want);
                    if want {
                        retries.push(now);
                    }
                }
            }
        }
    }
}
