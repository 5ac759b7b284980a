//! `CoDel` (RFC 8289): when a queue drops, by how long its requests have waited.
use std::time::{Duration, Instant};

/// Decides for each request that is about to leave a queue whether it is dropped. Time is passed in.
///
/// A short queue that comes and goes is left alone. Only when the smallest wait over an interval stays above the target
/// is something dropped, and then at shorter and shorter distances until the waits are below the target again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codel {
    target: Duration,
    interval: Duration,
    /// When the waits will have been above the target for an interval; `None` while they are below.
    standing_at: Option<Instant>,
    dropping: bool,
    drop_next: Option<Instant>,
    count: u32,
    last_count: u32,
}

impl Codel {
    pub(super) fn new(target: Duration, interval: Duration) -> Self {
        Self {
            target,
            interval,
            standing_at: None,
            dropping: false,
            drop_next: None,
            count: 0,
            last_count: 0,
        }
    }

    /// Whether the request that is next, and has waited for `sojourn`, is dropped. `more` says that others wait behind it:
    /// the last one is always served.
    pub(super) fn drops(&mut self, now: Instant, sojourn: Duration, more: bool) -> bool {
        let standing = self.is_standing(now, sojourn, more);
        if !standing {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.begin(now);
            return true;
        }
        let Some(due) = self.drop_next.filter(|due| *due <= now) else { return false };
        self.count = self.count.saturating_add(1);
        self.drop_next = self.after(due);
        true
    }

    /// Whether the waits have been above the target for a whole interval.
    fn is_standing(&mut self, now: Instant, sojourn: Duration, more: bool) -> bool {
        if sojourn < self.target || !more {
            self.standing_at = None;
            return false;
        }
        let Some(at) = self.standing_at else {
            self.standing_at = now.checked_add(self.interval);
            return false;
        };
        at <= now
    }

    /// Begins to drop: about as quickly as at the end of the last time, if that is not long ago.
    fn begin(&mut self, now: Instant) {
        let recent = |due: Instant| now.saturating_duration_since(due) < self.interval * 16;
        let delta = self.count.saturating_sub(self.last_count);
        let goes_on = delta > 1 && self.drop_next.is_some_and(recent);
        self.count = if goes_on { delta } else { 1 };
        self.last_count = self.count;
        self.dropping = true;
        self.drop_next = self.after(now);
    }

    /// The control law: the distance is the interval over the root of how many were dropped.
    fn after(&self, from: Instant) -> Option<Instant> {
        from.checked_add(self.interval.div_f64(f64::from(self.count.max(1)).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Clock;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn codel() -> (Codel, Instant) {
        (Codel::new(ms(5), ms(100)), Clock::system().now())
    }

    /// The milliseconds at which a queue drops that is asked every millisecond, and whose waits are what `sojourn` says.
    fn drops(until: u64, sojourn: impl Fn(u64) -> u64) -> Vec<u64> {
        let (mut codel, start) = codel();
        (0..until).filter(|at| codel.drops(start + ms(*at), ms(sojourn(*at)), true)).collect()
    }

    #[test]
    fn a_standing_queue_drops_at_the_times_of_the_control_law() {
        // Above since 0, so the first goes at 100; then 100/√1, 100/√2, 100/√3, 100/√4, 100/√5 later: at 200, 270.71, 328.45,
        // 378.45 and 423.17, each at the next whole millisecond.
        assert_eq!(drops(430, |_| 20), [100, 200, 271, 329, 379, 424]);
    }

    #[test]
    fn waits_below_the_target_and_bursts_shorter_than_an_interval_drop_nothing() {
        for (what, sojourn) in [
            ("below", (|_| 4) as fn(u64) -> u64),
            ("once in each interval below", |at| if at % 100 == 99 { 1 } else { 50 }),
            ("a burst", |at| if at < 99 { 80 } else { 0 }),
        ] {
            let dropped = drops(1_000, sojourn);
            assert!(dropped.is_empty(), "{what}: {dropped:?}");
        }
    }

    #[test]
    fn it_goes_on_where_it_stopped_when_the_queue_stands_again_soon() {
        // Down for a moment at 430. Above again since 431, so it drops at 531 with the count of five that were dropped
        // after the first, and the next comes 100/√5 = 44.72 later.
        let dropped = drops(580, |at| if at == 430 { 0 } else { 20 });
        assert_eq!(dropped[dropped.len() - 2..], [531, 576]);
        // After more than 16 intervals it is forgotten.
        let dropped = drops(2_450, |at| if (430..2_200).contains(&at) { 0 } else { 20 });
        assert_eq!(dropped[dropped.len() - 2..], [2_300, 2_400]);
    }

    #[test]
    fn the_last_one_is_served_however_long_it_waited() {
        let (mut codel, start) = codel();
        for at in 0..500 {
            assert!(!codel.drops(start + ms(at), ms(1_000), false));
        }
    }
}
