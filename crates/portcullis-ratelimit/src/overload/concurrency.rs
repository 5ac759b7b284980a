//! How the limit is found.
use super::gradient::real;

/// How many requests may be under way at once: a number, or one that follows how long they take.
///
/// ```
/// use portcullis_ratelimit::{Adaptive, Concurrency};
/// let number = Concurrency::fixed(200);
/// let found: Concurrency = Adaptive::default().between(10, 500).into();
/// ```
#[derive(Clone, Debug)]
pub struct Concurrency(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Fixed(usize),
    Adaptive(Adaptive),
}

impl Concurrency {
    /// So many at once, at least 1.
    pub fn fixed(limit: usize) -> Self {
        Self(Kind::Fixed(limit.max(1)))
    }
    /// As many as the service can do, by how long it takes to answer. The default settings can be changed before they become a
    /// `Concurrency`.
    pub fn adaptive() -> Adaptive {
        Adaptive::default()
    }
}

impl From<Adaptive> for Concurrency {
    fn from(adaptive: Adaptive) -> Self {
        Self(Kind::Adaptive(adaptive))
    }
}

/// A limit that follows how long the inner service takes to the head of its answer: while that is as usual, the limit grows, and when it
/// takes longer, the limit falls.
///
/// Only full houses teach: while less than half of the limit is in use, it stays. Answers with 503 and 504 lower it by a
/// tenth, once for as many as come together. Requests that were dropped say nothing.
///
/// # Deployment
/// Put the layer where the latency means something: behind a cache (`OverloadLayer::inner`). Requests that are slow by themselves (long
/// polls, uploads) belong around another layer.
#[derive(Clone, Debug)]
pub struct Adaptive {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) initial: usize,
    pub(super) tolerance: f64,
    pub(super) smoothing: f64,
    pub(super) long_window: usize,
    pub(super) probe_every: usize,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            min: 10,
            max: 1_000,
            initial: 20,
            tolerance: 1.5,
            smoothing: 0.2,
            long_window: 600,
            probe_every: 1_000,
        }
    }
}

impl Adaptive {
    /// The bounds. Default: 10 to 1,000. At least 1; a maximum below the minimum is the minimum.
    #[must_use]
    pub fn between(self, min: usize, max: usize) -> Self {
        Self { min: min.max(1), max: max.max(min).max(1), ..self }
    }
    /// Where it begins, within the bounds. Default: 20.
    #[must_use]
    pub fn initial(self, limit: usize) -> Self {
        Self { initial: limit, ..self }
    }
    /// How many times as long as usual the answers may take before the limit falls. Default: 1.5; at least 1.
    #[must_use]
    pub fn tolerance(self, times: f64) -> Self {
        Self { tolerance: if times >= 1.0 { times } else { 1.0 }, ..self }
    }
    /// How much of the way to what was measured is gone at once, from 0 to 1. Default: 0.2.
    #[must_use]
    pub fn smoothing(self, part: f64) -> Self {
        let smoothing = if part > 0.0 { part.min(1.0) } else { 0.2 };
        Self { smoothing, ..self }
    }
    /// Over how many measurements the usual latency is averaged. One is made of 10 to 100 requests. Default: 600.
    #[must_use]
    pub fn long_window(self, measurements: usize) -> Self {
        Self { long_window: measurements, ..self }
    }
    /// After how many requests the limit is lowered for a moment, so that the quickest latency is measured anew; at least 50
    /// times the limit. Default: 1,000.
    #[must_use]
    pub fn probe_every(self, requests: usize) -> Self {
        Self { probe_every: requests, ..self }
    }
    pub(super) fn clamp(&self, limit: f64) -> f64 {
        limit.clamp(real(self.min), real(self.max))
    }
}
