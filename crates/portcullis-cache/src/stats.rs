//! What the cache counts about itself.
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use portcullis_core::MetricSource;

use crate::status::Forward;

/// What a cache counts about itself: for `Metrics::with_source` of `portcullis-telemetry`.
#[derive(Clone, Debug, Default)]
pub struct CacheStats(pub(crate) Arc<Counts>);

#[derive(Debug, Default)]
pub(crate) struct Counts {
    events: [AtomicU64; EVENTS.len()],
    forwarded: [AtomicU64; Forward::ALL.len()],
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// Answered from what is stored, and good.
    Hit,
    /// The same, stale.
    StaleHit,
    /// Answered with what somebody else had asked for.
    Collapsed,
    /// What is stored was found good.
    Validated,
    /// Validated behind the answer.
    Behind,
    /// A response began to be stored.
    Stored,
    /// One that was not complete.
    Truncated,
    /// A purge.
    Purged,
    /// The store did not answer.
    StoreFailed,
}

const EVENTS: [(Event, &str); 9] = [
    (Event::Hit, "hit"),
    (Event::StaleHit, "stale-hit"),
    (Event::Collapsed, "collapsed"),
    (Event::Validated, "validated"),
    (Event::Behind, "refreshed-behind"),
    (Event::Stored, "stored"),
    (Event::Truncated, "truncated"),
    (Event::Purged, "purged"),
    (Event::StoreFailed, "store-failed"),
];

impl Counts {
    pub(crate) fn count(&self, event: Event) {
        if let Some(count) = self.events.get(event as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
    pub(crate) fn forward(&self, why: Forward) {
        if let Some(count) = self.forwarded.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl MetricSource for CacheStats {
    fn write(&self, out: &mut String) {
        // Writing to a string never fails.
        _ = out.write_str(
            "# HELP portcullis_cache_events_total What the cache did.\n# TYPE portcullis_cache_events_total counter\n",
        );
        for (event, name) in EVENTS {
            let count = self.0.events.get(event as usize).map_or(0, |count| count.load(Relaxed));
            _ = writeln!(out, "portcullis_cache_events_total{{event=\"{name}\"}} {count}");
        }
        _ = out.write_str(
            "# HELP portcullis_cache_forwarded_total Requests that went to the origin, by why.\n# TYPE portcullis_cache_forwarded_total counter\n",
        );
        for why in Forward::ALL {
            let count = self.0.forwarded.get(why as usize).map_or(0, |count| count.load(Relaxed));
            let why = why.as_str();
            _ = writeln!(out, "portcullis_cache_forwarded_total{{reason=\"{why}\"}} {count}");
        }
    }
}
