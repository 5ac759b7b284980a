//! How many requests at once are good for a service, found out from how long they take.
use std::time::Duration;

use super::concurrency::Adaptive;

/// A limit that follows the latency: a gradient, after the one of Netflix's concurrency-limits. Pure: samples are passed in.
///
/// Samples are taken together in windows of about as many as run at once, so that one slow request says nothing. After each window the
/// limit is multiplied by how much quicker things usually go (no more than 1), and by the room for a short queue it
/// grows.
///
/// What is usual is a long average, but at most twice the quickest window since the last probe: otherwise an overload that lasts
/// would become usual. A probe lowers the limit for a moment, so that what waits inside the service drains, and
/// the quickest window is measured anew: otherwise a service that has become slower for good would be starved.
#[derive(Clone, Debug)]
pub(super) struct Gradient {
    settings: Adaptive,
    limit: f64,
    /// The usual latency in seconds: an exponential average over many windows.
    usual: f64,
    /// The quickest window since the last probe, in seconds.
    quickest: f64,
    window: Window,
    /// How many samples there were since the last probe.
    since_probe: usize,
    probe: Option<Probe>,
}

/// Samples that count as one.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    seconds: f64,
    samples: usize,
    /// Samples and failures.
    seen: usize,
    most_in_flight: usize,
    failed: bool,
}

/// While the limit is lowered.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit meanwhile: what is needed for as many answers at the quickest latency (Little's law), and a quarter less, so
    /// that the queue inside drains also where the quickest was measured with some of it.
    limit: f64,
    /// How many samples still come of requests that began before.
    stale: usize,
}

/// At least so many samples make a window.
const WINDOW: usize = 10;
/// How far the usual latency may be above the quickest.
const DRIFT: f64 = 2.0;
/// What remains of the limit where the service says that it is overloaded.
const BACKOFF: f64 = 0.9;
/// What part of the concurrency that it seems to need a service has in a probe.
const PROBE: f64 = 0.75;

impl Gradient {
    pub(super) fn new(settings: Adaptive) -> Self {
        let limit = settings.clamp(real(settings.initial));
        Self {
            settings,
            limit,
            usual: 0.0,
            quickest: f64::INFINITY,
            window: Window::default(),
            since_probe: 0,
            probe: None,
        }
    }
    /// Keeps what was learned, within other settings.
    pub(super) fn adopt(&mut self, settings: Adaptive) {
        self.limit = settings.clamp(self.limit);
        self.settings = settings;
    }
    /// How many may be under way.
    pub(super) fn limit(&self) -> usize {
        whole(self.probe.map_or(self.limit, |probe| self.settings.clamp(probe.limit)))
    }
    /// How many may be when no probe lowers it for a moment.
    pub(super) fn steady(&self) -> usize {
        whole(self.limit)
    }

    /// A request took `latency`, when `in_flight` were under way (itself too).
    pub(super) fn sample(&mut self, latency: Duration, in_flight: usize) {
        if self.is_stale() {
            return;
        }
        self.window.seconds += latency.as_secs_f64();
        self.window.samples += 1;
        self.seen(in_flight);
    }
    /// The service said that it is overloaded, or did not answer in time. It counts once in a window: what fails together has
    /// one reason.
    pub(super) fn overloaded(&mut self, in_flight: usize) {
        if self.is_stale() {
            return;
        }
        if !self.window.failed {
            self.window.failed = true;
            self.limit = self.settings.clamp(self.limit * BACKOFF);
        }
        self.seen(in_flight);
    }

    fn seen(&mut self, in_flight: usize) {
        self.window.seen += 1;
        self.window.most_in_flight = self.window.most_in_flight.max(in_flight);
        self.since_probe += 1;
        if self.window.seen >= self.limit().clamp(WINDOW, 10 * WINDOW) {
            let window = std::mem::take(&mut self.window);
            if window.samples > 0 {
                self.learn(window);
            }
        }
    }

    /// Whether a sample tells of the time before a probe.
    fn is_stale(&mut self) -> bool {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.stale > 0) else { return false };
        probe.stale -= 1;
        true
    }

    fn learn(&mut self, window: Window) {
        let seconds = (window.seconds / real(window.samples)).max(1e-9);
        if self.probe.take().is_some() {
            self.quickest = seconds;
            return;
        }
        self.quickest = self.quickest.min(seconds);
        let weight = 2.0 / (real(self.settings.long_window) + 1.0);
        self.usual =
            if self.usual == 0.0 { seconds } else { self.usual + (seconds - self.usual) * weight };
        if self.usual > seconds * DRIFT {
            // What is usual comes from a bad time that is over.
            self.usual *= 0.95;
        }
        // Where there is little to do, the latency says nothing about the limit.
        if real(window.most_in_flight) * 2.0 < self.limit {
            return;
        }
        let usual = self.usual.min(self.quickest * DRIFT);
        let gradient = (self.settings.tolerance * usual / seconds).clamp(0.5, 1.0);
        let room = if window.failed { 0.0 } else { self.limit.sqrt() };
        let aim = self.limit * gradient + room;
        let limit = self.limit + (aim - self.limit) * self.settings.smoothing;
        self.limit = self.settings.clamp(limit);
        if self.since_probe >= self.settings.probe_every.max(self.limit() * 50) {
            self.since_probe = 0;
            let limit = self.limit * (self.quickest / seconds).min(1.0) * PROBE;
            self.probe = Some(Probe { limit, stale: window.most_in_flight });
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the limit is held between two counts"
)]
fn whole(limit: f64) -> usize {
    (limit as usize).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Feeds `samples` of a service that is quick below `capacity` at once and beyond it lets them wait.
    fn run(gradient: &mut Gradient, samples: usize, capacity: usize, base: Duration) {
        for _ in 0..samples {
            let in_flight = gradient.limit();
            let load = (real(in_flight) / real(capacity)).max(1.0);
            gradient.sample(base.mul_f64(load), in_flight);
        }
    }

    fn settled(capacity: usize) -> Gradient {
        let mut gradient = Gradient::new(Adaptive::default().between(2, 1_000).initial(20));
        run(&mut gradient, 20_000, capacity, ms(10));
        gradient
    }

    #[test]
    fn it_finds_what_a_service_can_do_and_stays_there() {
        for capacity in [10, 50, 200] {
            let mut gradient = settled(capacity);
            for _ in 0..100 {
                run(&mut gradient, 1_000, capacity, ms(10));
                let limit = gradient.limit.round();
                let capacity = real(capacity);
                assert!((capacity..capacity * 5.0).contains(&limit), "{limit} of {capacity}");
            }
        }
    }

    #[test]
    fn it_falls_when_the_latency_rises_and_rises_again() {
        let mut gradient = settled(100);
        let before = gradient.limit;
        for _ in 0..1_500 {
            gradient.sample(ms(10) * 8, gradient.limit());
        }
        let fallen = gradient.limit;
        assert!(fallen < before * 0.6, "{before} -> {fallen}");
        run(&mut gradient, 6_000, 100, ms(10));
        assert!(gradient.limit > fallen * 1.3, "{fallen} -> {}", gradient.limit);
    }

    #[test]
    fn a_doubled_latency_is_more_than_is_tolerated() {
        let mut gradient = Gradient::new(Adaptive::default().between(2, 1_000).initial(200));
        // A service that has no queue: it takes the same time at any load.
        for _ in 0..3_000 {
            gradient.sample(ms(10), 150);
        }
        let before = gradient.limit;
        for _ in 0..600 {
            gradient.sample(ms(20), gradient.limit());
        }
        assert!(gradient.limit < before, "{before} -> {}", gradient.limit);
    }

    #[test]
    fn it_does_not_run_away_when_there_is_little_to_do() {
        let mut gradient = Gradient::new(Adaptive::default().between(2, 1_000).initial(100));
        for _ in 0..100_000 {
            gradient.sample(ms(10), 20);
        }
        assert_eq!(gradient.limit(), 100);
    }

    #[test]
    fn a_service_that_has_become_slower_for_good_is_not_starved() {
        let mut gradient = settled(100);
        run(&mut gradient, 60_000, 100, ms(60));
        assert!(gradient.limit >= 90.0, "{}", gradient.limit);
    }

    #[test]
    fn failures_lower_it_once_in_a_window() {
        let mut gradient = Gradient::new(Adaptive::default().between(2, 1_000).initial(100));
        for _ in 0..80 {
            gradient.overloaded(100);
        }
        assert_eq!(gradient.limit(), 90);
        for _ in 0..10_000 {
            gradient.overloaded(100);
        }
        assert_eq!(gradient.limit(), 2);
    }

    #[test]
    fn a_probe_lowers_the_limit_for_a_moment() {
        let settings = Adaptive::default().between(2, 1_000).initial(100).probe_every(1_000);
        let mut gradient = Gradient::new(settings);
        let (mut probes, mut low) = (0, 0);
        for _ in 0..100_000 {
            let probing = gradient.probe.is_some();
            run(&mut gradient, 1, 100, ms(10));
            probes += usize::from(!probing && gradient.probe.is_some());
            if gradient.probe.is_some() {
                assert!(gradient.limit() < gradient.steady(), "{gradient:?}");
            }
            low += usize::from(probing);
        }
        assert!(probes >= 3, "{probes} probes");
        assert!(low < 10_000, "{low} samples of 100,000 were taken while it was low");
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(
            min in 1_usize..50,
            more in 0_usize..500,
            initial in 0_usize..1_000,
            samples in proptest::collection::vec((0_u64..2_000_000, 0_usize..600, any::<bool>()), 0..2_000),
        ) {
            let settings = Adaptive::default().between(min, min + more).initial(initial).probe_every(100);
            let mut gradient = Gradient::new(settings);
            for (micros, in_flight, failed) in samples {
                if failed && micros % 7 == 0 {
                    gradient.overloaded(in_flight);
                } else {
                    gradient.sample(Duration::from_micros(micros), in_flight);
                }
                prop_assert!((min..=min + more).contains(&gradient.limit()), "{}", gradient.limit());
            }
        }
    }
}
