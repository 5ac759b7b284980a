//! How much, and by what it is counted.
use std::num::NonZeroU32;
use std::time::Duration;

/// How many requests in how much time, how many at once, and by what they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    requests: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
    key: Key,
}

/// By what requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// The address of the client; IPv6 by its /64. The default.
    #[default]
    Address,
    /// The identity of the caller; the address of an anonymous one.
    Identity,
}

/// `requests` a second, as many at once. Nought is taken for one.
pub fn per_second(requests: u32) -> Quota {
    Quota::new(requests, Duration::from_secs(1))
}
/// `requests` a minute, as many at once. Nought is taken for one.
pub fn per_minute(requests: u32) -> Quota {
    Quota::new(requests, Duration::from_secs(60))
}
/// `requests` an hour, as many at once. Nought is taken for one.
pub fn per_hour(requests: u32) -> Quota {
    Quota::new(requests, Duration::from_secs(3600))
}

impl Quota {
    fn new(requests: u32, period: Duration) -> Self {
        let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
        Self { requests, period, burst: requests, key: Key::default() }
    }
    /// How many requests may come at once. Default: as many as in one period. Nought is taken for one.
    #[must_use]
    pub fn burst(self, burst: u32) -> Self {
        Self { burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN), ..self }
    }
    /// By what requests are counted. Default: [`Key::Address`].
    #[must_use]
    pub fn by(self, key: Key) -> Self {
        Self { key, ..self }
    }
    /// By what requests are counted.
    pub fn key(self) -> Key {
        self.key
    }
    pub(crate) fn rate(self) -> Rate {
        let nanos = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let interval = (nanos / u64::from(self.requests.get())).max(1);
        Rate { interval, tolerance: interval.saturating_mul(u64::from(self.burst.get() - 1)) }
    }
}

/// A quota in the terms of GCRA, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The time that one request takes up.
    interval: u64,
    /// How far ahead of time requests may come.
    tolerance: u64,
}

impl Rate {
    /// Decides about a request at `now`, for a key whose requests have taken up the time until `used_until`.
    ///
    /// The new `used_until` if it may go on, otherwise how long until it could. The virtual scheduling form of GCRA
    /// (ATM Forum Traffic Management 4.1, section 4.4.2).
    pub(crate) fn admit(self, used_until: u64, now: u64) -> Result<u64, Duration> {
        let begins = used_until.max(now);
        let ahead = begins - now;
        if ahead > self.tolerance {
            return Err(Duration::from_nanos(ahead - self.tolerance));
        }
        Ok(begins.saturating_add(self.interval))
    }
    /// Takes back one request that was admitted a moment ago. What was admitted in between moved the time on by the same
    /// interval, so it stays counted.
    pub(crate) fn take_back(self, used_until: u64) -> u64 {
        used_until.saturating_sub(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_one_each_interval() {
        let rate = per_second(10).burst(3).rate();
        let interval = 100_000_000;
        let mut used_until = 0;
        for (now, admitted) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (interval - 1, false),
            (interval, true),
            (interval, false),
        ] {
            let verdict = rate.admit(used_until, now);
            assert_eq!(verdict.is_ok(), admitted, "{now}");
            used_until = verdict.unwrap_or(used_until);
        }
        assert_eq!(rate.admit(used_until, interval), Err(Duration::from_nanos(interval)));
    }

    /// A bucket that holds `burst` tokens and gets one each interval: the same limit, thought the other way round.
    struct Bucket {
        nanos: u128,
        at: u64,
    }
    impl Bucket {
        fn take(&mut self, rate: Rate, now: u64) -> bool {
            let full = u128::from(rate.tolerance) + u128::from(rate.interval);
            self.nanos = full.min(self.nanos + u128::from(now - self.at));
            self.at = now;
            let enough = self.nanos >= u128::from(rate.interval);
            if enough {
                self.nanos -= u128::from(rate.interval);
            }
            enough
        }
    }

    proptest! {
        #[test]
        fn admits_what_a_token_bucket_admits(
            requests in 1..1000_u32, burst in 1..50_u32, gaps in prop::collection::vec(0..200_000_000_u64, 1..200),
        ) {
            let rate = per_second(requests).burst(burst).rate();
            let mut bucket = Bucket { nanos: u128::MAX / 2, at: 0 };
            let (mut now, mut used_until) = (0, 0);
            for gap in gaps {
                now += gap;
                let verdict = rate.admit(used_until, now);
                prop_assert_eq!(verdict.is_ok(), bucket.take(rate, now));
                if let Err(wait) = verdict {
                    // The answer says exactly when the next one may come.
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(rate.admit(used_until, now + wait).is_ok());
                    prop_assert!(rate.admit(used_until, now + wait - 1).is_err());
                }
                used_until = verdict.unwrap_or(used_until);
            }
        }
    }
}
