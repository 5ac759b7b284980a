//! What limits count about themselves.
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::MetricSource;

use crate::limiter::Counts;

/// How often something happened that is no ordinary way of a request: those are not counted, so that nothing is written by every request of every thread.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) refused: Count,
    pub(crate) would_refuse: Count,
    pub(crate) waited: Count,
    pub(crate) degraded: Count,
    pub(crate) asked: Count,
    pub(crate) failed: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the quotas of a layer count about themselves. Clones are the same.
#[derive(Clone)]
pub struct RateLimitStats(Arc<[(Arc<str>, Arc<Counts>)]>);

type Family = (&'static str, &'static str, fn(&Stats) -> &Count);

/// Each family: its name, what it is, and where it stands.
const FAMILIES: [Family; 6] = [
    ("refused", "Requests that a quota refused.", |stats| &stats.refused),
    ("would_refuse", "Requests that a quota on trial would have refused.", |stats| {
        &stats.would_refuse
    }),
    ("waited", "Requests that waited until a quota had room.", |stats| &stats.waited),
    ("degraded", "Requests that were decided about without the store of their quota.", |stats| {
        &stats.degraded
    }),
    ("store_calls", "Round trips to the store of a quota.", |stats| &stats.asked),
    ("store_failures", "Round trips to the store of a quota that failed.", |stats| &stats.failed),
];

impl RateLimitStats {
    pub(crate) fn new(counts: Vec<(Arc<str>, Arc<Counts>)>) -> Self {
        Self(counts.into())
    }
    /// The same, with those of another layer.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self(self.0.iter().chain(&*other.0).cloned().collect())
    }
}

impl MetricSource for RateLimitStats {
    fn write(&self, out: &mut String) {
        if self.0.is_empty() {
            return;
        }
        for (family, help, get) in FAMILIES {
            // Writing to a string never fails.
            _ = writeln!(
                out,
                "# HELP portcullis_limit_{family}_total {help}\n# TYPE portcullis_limit_{family}_total counter"
            );
            for (name, counts) in &*self.0 {
                let (name, count) = (Label(name), get(&counts.stats).get());
                _ = writeln!(out, "portcullis_limit_{family}_total{{quota=\"{name}\"}} {count}");
            }
        }
        _ = writeln!(
            out,
            "# HELP portcullis_limit_memory_bytes What the keys of a quota take in memory.\n# TYPE portcullis_limit_memory_bytes gauge"
        );
        for (name, counts) in &*self.0 {
            let (name, (bytes, _)) = (Label(name), counts.memory.bytes());
            _ = writeln!(out, "portcullis_limit_memory_bytes{{quota=\"{name}\"}} {bytes}");
        }
    }
}

/// A name in a label.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(f, "\\{c}"),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

impl fmt::Debug for RateLimitStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitStats").finish_non_exhaustive()
    }
}
