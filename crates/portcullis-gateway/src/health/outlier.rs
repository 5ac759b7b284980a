//! Passive health: a server that keeps failing is left alone for a while.
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::server::Server;

/// When a server that keeps failing is left alone, and for how long. (The rules are those of Envoy's outlier detection.)
#[derive(Clone, Debug, PartialEq)]
pub struct Outliers {
    pub(crate) failures: u32,
    pub(crate) base: Duration,
    pub(crate) longest: Duration,
    pub(crate) most: f64,
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            failures: 5,
            base: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            most: 0.3,
        }
    }
}

impl Outliers {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// After how many failures in a row: no answer, a time-out, 502, 503 or 504. A server that takes no connection is left alone
    /// at once, and asked again when a health check reaches it. 0 turns it all off. Default: 5.
    #[must_use]
    pub fn failures(self, failures: u32) -> Self {
        Self { failures, ..self }
    }
    /// For how long the first time; each time in a row that long more. Default: 10 s.
    #[must_use]
    pub fn base(self, base: Duration) -> Self {
        Self { base, ..self }
    }
    /// For how long at most. Default: 5 min.
    #[must_use]
    pub fn longest(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }
    /// Which share of the servers may be left alone at a time; one may always be, of two or more. Default: 0.3.
    #[must_use]
    pub fn most(self, share: f64) -> Self {
        Self { most: share.clamp(0.0, 1.0), ..self }
    }
}

/// Whether one server is left alone.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// Failures in a row.
    failures: AtomicU32,
    /// How often in a row.
    times: AtomicU32,
    /// Until when, in nanoseconds; zero is not at all.
    until: AtomicU64,
    /// Only because it took no connection, which a health check can tell.
    unreachable: AtomicBool,
}

impl Ejection {
    pub(crate) fn is_ejected(&self, now: Duration) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && u128::from(until) > now.as_nanos()
    }
    /// A health check has reached it. What kept failing otherwise keeps its time.
    pub(crate) fn reached(&self) -> bool {
        let ended = self.unreachable.load(Relaxed) && self.until.load(Relaxed) != 0;
        if ended {
            self.succeeded();
        }
        ended
    }
    /// It answered well.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.until.load(Relaxed) != 0 {
            self.until.store(0, Relaxed);
            self.times.store(0, Relaxed);
        }
    }
}

/// It failed: leaves it alone if it has failed too often, and as far as the others can do without it. Answers for how long.
pub(crate) fn failed(
    server: &Server,
    all: &[std::sync::Arc<Server>],
    rules: &Outliers,
    hard: bool,
    now: Duration,
) -> Option<Duration> {
    let ejection = &server.ejection;
    let failures = ejection.failures.fetch_add(1, Relaxed) + 1;
    let too_often = rules.failures > 0 && (hard || failures >= rules.failures);
    if !too_often || ejection.is_ejected(now) {
        return None;
    }
    let ejected = all.iter().filter(|other| other.ejection.is_ejected(now)).count();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few servers"
    )]
    let most = ((all.len() as f64 * rules.most) as usize).max(usize::from(all.len() > 1));
    if ejected >= most {
        return None;
    }
    let times = ejection.times.fetch_add(1, Relaxed) + 1;
    let time = rules.base.saturating_mul(times).min(rules.longest);
    let until = u64::try_from((now + time).as_nanos()).unwrap_or(u64::MAX);
    ejection.unreachable.store(hard, Relaxed);
    ejection.until.store(until.max(1), Relaxed);
    ejection.failures.store(0, Relaxed);
    server.load.begins(now + time);
    Some(time)
}
