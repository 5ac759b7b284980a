//! Stops asking who does not answer.
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_core::Clock;

use crate::window::Window;

/// Stops asking who fails too often, and finds out carefully when that is over. Cheap to clone; clones share it.
///
/// *Closed*, everything is let through, and the last while is watched. When too large a share of it failed, or was too slow, the
/// breaker *opens*: nothing is let through, and who wanted to ask knows at once. After a while it is *half-open*: a few are let through, and no
/// more than those. If all of them go well it closes, and if one does not it opens again.
///
/// ```
/// use portcullis_resilience::Breaker;
/// let breaker = Breaker::builder().minimum(2).build();
/// for _ in 0..2 {
///     breaker.try_acquire().unwrap().failed();
/// }
/// assert!(breaker.try_acquire().is_err(), "both failed");
/// ```
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    rules: Rules,
    clock: Clock,
    epoch: Instant,
    /// Goes up with each change of state. Even is closed, so that one look tells who has nothing to lock.
    generation: AtomicU64,
    state: Mutex<State>,
    calls: Window,
    failures: Window,
    slow: Window,
    opened: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    error_rate: f64,
    slow_rate: f64,
    slow: Duration,
    minimum: u64,
    open: Duration,
    probes: u32,
}

enum State {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        /// When somebody was let through for the last time.
        since: Instant,
        /// Let through since then, and not given back.
        admitted: u32,
        went_well: u32,
    },
}

/// Longer than any breaker should be open.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// In what state a [`Breaker`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Everything is let through.
    Closed,
    /// Nothing is.
    Open,
    /// A few are, to find out.
    HalfOpen,
}

/// A breaker that does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open for another {retry_after:.1?}")]
pub struct BreakerOpen {
    retry_after: Duration,
}

impl BreakerOpen {
    /// When it is worth another try.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

/// The right to ask once. Say what came of it; dropping it says that nobody found out, and whoever comes next may ask instead.
#[derive(Debug)]
#[must_use = "say what came of it"]
pub struct BreakerPermit {
    breaker: Breaker,
    generation: u64,
    began: Instant,
    is_over: bool,
}

/// Builds a [`Breaker`].
#[derive(Debug)]
#[must_use = "a breaker is made by `build`"]
pub struct BreakerBuilder {
    rules: Rules,
    length: Duration,
    clock: Clock,
}

impl BreakerBuilder {
    /// Which share of the last while may fail. Default: 0.5.
    pub fn error_rate(mut self, share: f64) -> Self {
        self.rules.error_rate = share.clamp(0.0, 1.0);
        self
    }
    /// Which share of the last while may take longer than `time`. Default: no time is too long.
    pub fn slow(mut self, time: Duration, share: f64) -> Self {
        (self.rules.slow, self.rules.slow_rate) = (time, share.clamp(0.0, 1.0));
        self
    }
    /// How much must have been asked in the last while, for shares to mean anything. Default: 20.
    pub fn minimum(mut self, calls: u32) -> Self {
        self.rules.minimum = calls.max(1).into();
        self
    }
    /// How long the last while is. Default: 10 s.
    pub fn window(self, length: Duration) -> Self {
        Self { length, ..self }
    }
    /// How long it stays open. Default: 10 s.
    pub fn open(mut self, time: Duration) -> Self {
        // So that adding it to a time is never too much.
        self.rules.open = time.min(YEAR);
        self
    }
    /// How many must go well until it closes again; no more are let through. Default: 3.
    pub fn probes(mut self, calls: u32) -> Self {
        self.rules.probes = calls.max(1);
        self
    }
    /// Where time comes from. Default: the machine's clock.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
    /// Makes the breaker.
    pub fn build(self) -> Breaker {
        let Self { rules, length, clock } = self;
        Breaker(Arc::new(Inner {
            rules,
            epoch: clock.now(),
            clock,
            generation: AtomicU64::new(0),
            state: Mutex::new(State::Closed),
            calls: Window::new(length),
            failures: Window::new(length),
            slow: Window::new(length),
            opened: AtomicU64::new(0),
        }))
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Breaker {
    /// Begins a breaker.
    pub fn builder() -> BreakerBuilder {
        let second = Duration::from_secs(1);
        let rules = Rules {
            error_rate: 0.5,
            slow_rate: 1.0,
            slow: Duration::MAX,
            minimum: 20,
            open: 10 * second,
            probes: 3,
        };
        BreakerBuilder { rules, length: 10 * second, clock: Clock::system() }
    }

    /// The right to ask once.
    ///
    /// # Errors
    /// The breaker is open.
    #[inline]
    pub fn try_acquire(&self) -> Result<BreakerPermit, BreakerOpen> {
        let (generation, now) = (self.0.generation.load(Relaxed), self.0.clock.now());
        if generation.is_multiple_of(2) {
            return Ok(self.permit(generation, now));
        }
        self.try_probe(now)
    }
    fn permit(&self, generation: u64, began: Instant) -> BreakerPermit {
        BreakerPermit { breaker: self.clone(), generation, began, is_over: false }
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn try_probe(&self, now: Instant) -> Result<BreakerPermit, BreakerOpen> {
        let mut state = self.lock();
        let refused = match &mut *state {
            // It has closed since the look.
            State::Closed => return Ok(self.permit(self.0.generation.load(Relaxed), now)),
            State::Open { until } if now < *until => Some(*until - now),
            State::HalfOpen { since, admitted, .. } if *admitted < self.0.rules.probes => {
                (*since, *admitted) = (now, *admitted + 1);
                return Ok(self.permit(self.0.generation.load(Relaxed), now));
            }
            State::HalfOpen { since, .. } if now < *since + self.0.rules.open => {
                Some(*since + self.0.rules.open - now)
            }
            // Its time is over; or those that were let through are not back, and have had as long as it stays open: others may try, in a life of
            // their own.
            State::HalfOpen { .. } | State::Open { .. } => None,
        };
        if let Some(retry_after) = refused {
            return Err(BreakerOpen { retry_after });
        }
        *state = State::HalfOpen { since: now, admitted: 1, went_well: 0 };
        let generation = self.0.generation.fetch_add(2, Relaxed) + 2;
        Ok(self.permit(generation, now))
    }

    /// What came of an ask.
    #[inline]
    fn record(&self, generation: u64, began: Instant, failed: bool) {
        if self.0.generation.load(Relaxed) != generation {
            // What belongs to an earlier life says nothing about this one.
            return;
        }
        let now = self.0.clock.now();
        let slow = now.saturating_duration_since(began) >= self.0.rules.slow;
        if generation.is_multiple_of(2) {
            let at = now.saturating_duration_since(self.0.epoch);
            self.0.calls.add(at);
            if failed || slow {
                self.went_wrong(generation, at, now, failed, slow);
            }
        } else {
            self.probed(generation, now, failed || slow);
        }
    }
    #[cold]
    fn went_wrong(&self, generation: u64, at: Duration, now: Instant, failed: bool, slow: bool) {
        if failed {
            self.0.failures.add(at);
        }
        if slow {
            self.0.slow.add(at);
        }
        let calls = self.0.calls.sum(at);
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let is_share = |of: &Window, most: f64| of.sum(at) as f64 >= most * calls as f64;
        let too_many = (failed && is_share(&self.0.failures, self.0.rules.error_rate))
            || (slow && is_share(&self.0.slow, self.0.rules.slow_rate));
        if calls < self.0.rules.minimum || !too_many {
            return;
        }
        let mut state = self.lock();
        // Whoever came first has opened it.
        if self.0.generation.load(Relaxed) == generation {
            self.0.generation.store(generation + 1, Relaxed);
            self.open(&mut state, now);
        }
    }
    fn open(&self, state: &mut State, now: Instant) {
        *state = State::Open { until: now + self.0.rules.open };
        self.0.opened.fetch_add(1, Relaxed);
    }
    #[cold]
    fn probed(&self, generation: u64, now: Instant, failed: bool) {
        let mut state = self.lock();
        if self.0.generation.load(Relaxed) != generation {
            return;
        }
        let State::HalfOpen { went_well, .. } = &mut *state else { return };
        if failed {
            self.0.generation.store(generation + 2, Relaxed);
            return self.open(&mut state, now);
        }
        *went_well += 1;
        if *went_well >= self.0.rules.probes {
            for window in [&self.0.calls, &self.0.failures, &self.0.slow] {
                window.clear();
            }
            *state = State::Closed;
            self.0.generation.store(generation + 1, Relaxed);
        }
    }
    #[cold]
    fn give_back(&self, generation: u64) {
        let mut state = self.lock();
        if let State::HalfOpen { admitted, .. } = &mut *state
            && self.0.generation.load(Relaxed) == generation
        {
            *admitted = admitted.saturating_sub(1);
        }
    }

    /// In what state it is. An open one is until somebody asks after its time.
    pub fn state(&self) -> BreakerState {
        match &*self.lock() {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Relaxed)
    }
}

impl BreakerPermit {
    /// It went well.
    pub fn succeeded(self) {
        self.end(false);
    }
    /// It did not.
    pub fn failed(self) {
        self.end(true);
    }
    fn end(mut self, failed: bool) {
        self.is_over = true;
        self.breaker.record(self.generation, self.began, failed);
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        if !self.is_over && !self.generation.is_multiple_of(2) {
            self.breaker.give_back(self.generation);
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}
