//! How long requests took.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in nanoseconds and as a label says it in seconds. OpenTelemetry recommends them.
pub(super) const BOUNDS: [(u64, &str); 14] = [
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (75_000_000, "0.075"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (750_000_000, "0.75"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (7_500_000_000, "7.5"),
    (10_000_000_000, "10"),
];

/// Durations by bucket. A request is two additions.
#[derive(Default)]
pub(super) struct Histogram {
    /// What lies above a bound and not above the next one.
    buckets: [AtomicU64; BOUNDS.len()],
    /// What lies above every bound.
    above: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        self.buckets.get(at).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
    /// The bounds as labels, each with the count of what does not lie above it; the last one has everything.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
        let counts = self.buckets.iter().chain([&self.above]);
        labels.zip(counts.scan(0, |sum, count| {
            *sum += count.load(Ordering::Relaxed);
            Some(*sum)
        }))
    }
    /// How many durations there are.
    pub(super) fn count(&self) -> u64 {
        self.cumulative().last().map_or(0, |(_, count)| count)
    }
    /// The sum of all durations, in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_does_not_lie_below_it() {
        for (nanos, want) in [
            (0, "0.005"),
            (5_000_000, "0.005"),
            (5_000_001, "0.01"),
            (1_000_000_000, "1"),
            (10_000_000_000, "10"),
            (10_000_000_001, "+Inf"),
            (u64::MAX, "+Inf"),
        ] {
            let histogram = Histogram::default();
            histogram.record(Duration::from_nanos(nanos));
            let first = histogram.cumulative().find(|(_, count)| *count > 0);
            assert_eq!(first, Some((want, 1)), "{nanos}");
            assert_eq!(histogram.nanos(), nanos);
        }
    }

    #[test]
    fn labels_say_what_the_bounds_are() {
        for (nanos, label) in BOUNDS {
            let seconds: f64 = label.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
    }
}
