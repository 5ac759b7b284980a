//! The arithmetic of quotas in a database: whole microseconds since 1970, rounded up.
use std::time::Duration;

use portcullis_ratelimit::{Rate, Take, Taken};

/// What is longer than this counts as this, in microseconds: 142 years.
const LONGEST: i128 = 1 << 52;

/// A rate in parts of a microsecond, of which a unit takes up a whole number: what is added up within a call is not rounded.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    unit: i128,
    /// How many are a microsecond.
    parts: i128,
    /// What a burst takes up.
    full: i128,
}

/// The greatest number that divides both.
fn common(one: u128, other: u128) -> u128 {
    if other == 0 { one } else { common(other, one % other) }
}

fn signed(number: u128) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX)
}

/// The quotient, rounded up; `parts` is positive.
fn up(number: i128, parts: i128) -> i128 {
    number.div_euclid(parts) + i128::from(number.rem_euclid(parts) > 0)
}

fn bounded(micros: i128) -> i64 {
    i64::try_from(micros.clamp(-LONGEST, LONGEST)).unwrap_or_default()
}

fn waits(patience: Duration) -> i128 {
    signed(patience.as_micros()).min(LONGEST)
}

impl Measure {
    pub(crate) fn of(rate: Rate) -> Self {
        let (nanos, units) = (rate.period().as_nanos().max(1), u128::from(rate.units()) * 1_000);
        let part = common(nanos, units);
        let (unit, parts) = (signed(nanos / part), signed(units / part));
        // A capacity is bounded, and the burst is not.
        let burst = rate.at_once().min(rate.units_in(rate.capacity()));
        Self { unit, parts, full: i128::from(burst).saturating_mul(unit) }
    }
    /// How many microseconds so many units take up, rounded up; fewer where they are given back.
    pub(crate) fn micros(self, units: i64) -> i64 {
        bounded(up(i128::from(units).saturating_mul(self.unit), self.parts))
    }
    /// How far ahead the time of a key may be taken up, in microseconds: what is owed beyond two bursts, or beyond what waits, is let go.
    pub(crate) fn owed(self, patience: Duration) -> i64 {
        bounded(up(self.owed_parts(patience), self.parts))
    }
    fn owed_parts(self, patience: Duration) -> i128 {
        let waits = waits(patience).saturating_mul(self.parts);
        self.full.saturating_add(self.full.max(waits))
    }
    /// How far ahead it may be for this to be taken, in microseconds. Negative where it never is.
    #[cfg(feature = "postgres")]
    pub(crate) fn limit(self, take: &Take) -> i64 {
        let needs = i128::from(take.needs).saturating_mul(self.unit);
        if needs > self.full {
            return -1;
        }
        let early = waits(take.patience);
        bounded(self.full.saturating_sub(needs).div_euclid(self.parts).saturating_add(early))
    }
}

/// Until when the time of a key is taken up, and since this call began.
#[derive(Clone, Copy)]
struct State {
    ahead: i128,
    parts: i128,
    /// In microseconds, before anything was taken.
    before: i128,
    is_changed: bool,
}

/// A length of time in microseconds, as a database has it.
pub(crate) fn length(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// What all takes of a call say, and the new value of each key that has one. `places` are the keys of the takes, `used` what the keys have.
pub(crate) fn step(
    takes: &[Take],
    places: &[usize],
    used: &[i64],
    now: i64,
) -> (Vec<Taken>, Vec<Option<i64>>) {
    let mut states: Vec<Option<State>> = vec![None; used.len()];
    let (mut answers, mut admitted) = (Vec::new(), true);
    for (take, place) in takes.iter().zip(places) {
        let (Some(slot), Some(used)) = (states.get_mut(*place), used.get(*place)) else { continue };
        let measure = Measure::of(take.rate);
        let Measure { unit, parts, full } = measure;
        let mut state = slot.unwrap_or_else(|| {
            let ahead = (i128::from(*used) - i128::from(now)).clamp(0, LONGEST);
            let (all, owed) = (ahead.saturating_mul(parts), measure.owed_parts(take.patience));
            let before = up(all.min(owed), parts);
            State { ahead: all.min(owed), parts, before, is_changed: all > owed }
        });
        if state.parts != parts {
            state.ahead = up(state.ahead, state.parts).saturating_mul(parts);
            state.parts = parts;
        }
        let space = full.saturating_sub(state.ahead);
        let needs = i128::from(take.needs).saturating_mul(unit);
        let mut units = 0;
        // More than the burst is never taken, whatever the patience.
        if needs > full || needs.saturating_sub(space) > waits(take.patience).saturating_mul(parts)
        {
            admitted = false;
        } else {
            let room = u64::try_from(space.div_euclid(unit).max(0)).unwrap_or(u64::MAX);
            units = room.max(take.needs).min(take.most);
            state.ahead = state.ahead.saturating_add(i128::from(units).saturating_mul(unit));
        }
        answers.push(Taken::new(true, units, length(bounded(up(state.ahead, parts)))));
        *slot = Some(state);
    }
    if !admitted {
        for (answer, place) in answers.iter_mut().zip(places) {
            let before = states.get(*place).copied().flatten().map_or(0, |state| state.before);
            *answer = Taken::new(false, 0, length(bounded(before)));
        }
    }
    let changed = states.into_iter().map(|state| {
        let state = state?;
        let ahead = if admitted { up(state.ahead, state.parts) } else { state.before };
        (admitted || state.is_changed).then(|| now.saturating_add(bounded(ahead)))
    });
    (answers, changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const NOW: i64 = 1_800_000_000_000_000;

    fn take(rate: Rate, needs: u64, most: u64) -> Take {
        let mut take = Take::new("q".into(), [0; 16], rate, needs);
        take.most = most;
        take
    }

    #[test]
    fn what_is_added_up_within_a_call_is_not_rounded() {
        let rate = Rate::new(7, HOUR);
        let eight = vec![take(rate, 1, 1); 8];
        let (taken, changed) = step(&eight[..7], &[0; 7], &[0], NOW);
        assert!(taken.iter().all(|taken| taken.admitted && taken.units == 1));
        assert_eq!(taken[0].ahead, Duration::from_micros(514_285_715));
        assert_eq!((taken[6].ahead, changed), (HOUR, vec![Some(NOW + 3_600_000_000)]));
        let (taken, changed) = step(&eight, &[0; 8], &[0], NOW);
        assert_eq!((taken[0], changed), (Taken::new(false, 0, Duration::ZERO), vec![None]));
    }

    #[test]
    fn the_greatest_numbers_are_counted() {
        const LONG: Duration = Duration::MAX;
        for rate in [
            Rate::new(u64::MAX, LONG),
            Rate::new(u64::MAX, Duration::from_nanos(1)),
            Rate::new(1, LONG).burst(u64::MAX),
            Rate::new(u64::MAX, Duration::from_nanos(1)).burst(1),
        ] {
            let mut all = take(rate, 1, u64::MAX);
            all.patience = LONG;
            for used in [0, NOW, i64::MAX, i64::MIN] {
                let (taken, _) = step(std::slice::from_ref(&all), &[0], &[used], NOW);
                assert!(taken[0].admitted, "{rate:?} {used}");
            }
            for units in [i64::MIN, -1, 0, 1, i64::MAX] {
                let (measure, by) = (Measure::of(rate), Measure::of(rate).micros(units));
                assert!(by.signum() == units.signum() || units < 0 && by == 0, "{rate:?} {units}");
                let owed = [Duration::ZERO, LONG].map(|patience| measure.owed(patience));
                assert!(by.abs() <= 1 << 52 && 0 <= owed[0] && owed[0] <= owed[1], "{rate:?}");
            }
            step(&[take(rate, u64::MAX, 0)], &[0], &[i64::MAX], NOW);
        }
    }

    #[test]
    fn what_is_owed_beyond_two_bursts_or_the_patience_is_let_go_by_whoever_is_refused() {
        const FAR: i64 = NOW + 10 * 3_600_000_000;
        let mut one = take(Rate::new(10, HOUR), 1, 1);
        for (patience, hours) in [(0, 2), (1, 2), (5, 6)] {
            one.patience = HOUR * patience;
            let (taken, changed) = step(std::slice::from_ref(&one), &[0], &[FAR], NOW);
            assert_eq!(taken, [Taken::new(false, 0, HOUR * hours)]);
            assert_eq!(changed, [Some(NOW + i64::from(hours) * 3_600_000_000)]);
        }
    }
}
