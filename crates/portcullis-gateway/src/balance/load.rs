//! How much a server has to do, and how quickly it does it.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::server::Server;

/// How fast what was seen is forgotten: to about a third in this time.
const DECAY: Duration = Duration::from_secs(10);
/// What a server costs that has a request in flight and has never answered one.
const UNKNOWN: f64 = 1e9;

/// The load of a server: requests in flight, and a moving average of how long it takes, which jumps to a peak at once and comes
/// down slowly. (The load metric is Finagle's `PeakEwma`.)
///
/// Every worker reads and writes it. A write that is lost to another one at the same time changes an average a little.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    /// Nanoseconds, as the bits of an `f64`.
    average: AtomicU64,
    /// When the average was last written, in nanoseconds.
    stamp: AtomicU64,
    /// Since when it takes requests, in nanoseconds.
    since: AtomicU64,
}

impl Load {
    pub(crate) fn new(since: Duration) -> Self {
        let since = nanos(since);
        Self {
            in_flight: AtomicUsize::new(0),
            average: AtomicU64::new(0.0_f64.to_bits()),
            stamp: AtomicU64::new(since),
            since: AtomicU64::new(since),
        }
    }
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
    pub(crate) fn since(&self) -> Duration {
        Duration::from_nanos(self.since.load(Relaxed))
    }
    /// It takes requests again, as if it were new.
    pub(crate) fn begins(&self, now: Duration) {
        self.since.store(nanos(now), Relaxed);
    }
    /// A request took that long.
    pub(crate) fn took(&self, time: Duration, now: Duration) {
        let (time, decayed) = (time.as_secs_f64() * 1e9, self.decay(now));
        let average = f64::from_bits(self.average.load(Relaxed));
        let next = if time > average { time } else { average * decayed + time * (1.0 - decayed) };
        self.average.store(next.to_bits(), Relaxed);
        self.stamp.store(nanos(now), Relaxed);
    }
    /// A request was given up after that long: it would have taken longer still.
    pub(crate) fn gave_up(&self, time: Duration, now: Duration) {
        if time.as_secs_f64() * 1e9 > f64::from_bits(self.average.load(Relaxed)) {
            self.took(time, now);
        }
    }
    fn decay(&self, now: Duration) -> f64 {
        let elapsed = nanos(now).saturating_sub(self.stamp.load(Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let elapsed = elapsed as f64;
        (-elapsed / (DECAY.as_secs_f64() * 1e9)).exp()
    }
    /// What one more request costs here.
    pub(crate) fn cost(&self, now: Duration) -> f64 {
        let in_flight = self.in_flight();
        let average = f64::from_bits(self.average.load(Relaxed));
        if average == 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            return UNKNOWN * in_flight as f64;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let requests = (in_flight + 1) as f64;
        average * self.decay(now) * requests
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A request that is in flight to a server, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Server>);

impl InFlight {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        server.load.in_flight.fetch_add(1, Relaxed);
        Self(server)
    }
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.load.in_flight.fetch_sub(1, Relaxed);
    }
}
