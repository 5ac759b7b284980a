//! How much in how much time: the arithmetic of quotas.
use std::time::Duration;

use crate::cost::Price;

/// So many units in so much time, and so many at once.
///
/// The algorithm is GCRA (the generic cell rate algorithm of ATM Forum Traffic Management 4.1, section 4.4.2) in its virtual scheduling form:
/// units take up time one behind the other, and may come ahead of it by what the burst takes up. The state of a key is one number: until when the
/// time is taken up.
///
/// What a unit takes up is a whole number of nanoseconds, rounded down: at a thousand units a second that is a rate of at most a millionth more. Above a
/// million units a second, as of bytes, it is what some units take up together that is rounded, and rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    units: u64,
    /// Nanoseconds.
    period: u64,
    burst: u64,
    /// What one unit takes up, and what the burst does, in nanoseconds.
    one: u64,
    capacity: u64,
}

/// Why some units may not go on, the worse the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Full {
    /// Not yet: so many nanoseconds too early.
    Early(u64),
    /// Never: they are more than the burst.
    Never,
}

impl Rate {
    /// So many units in this time, as many at once. Nought is taken for one; times are whole nanoseconds, up to 73 years.
    pub fn new(units: u64, period: Duration) -> Self {
        Self::with(units.max(1), nanos(period).max(1), units.max(1))
    }
    /// How many units may come at once. Default: as many as in one period. Nought is taken for one.
    #[must_use]
    pub fn burst(self, burst: u64) -> Self {
        Self::with(self.units, self.period, burst.max(1))
    }
    fn with(units: u64, period: u64, burst: u64) -> Self {
        let is_coarse = period / units >= MICROSECOND;
        let one = if is_coarse { period / units } else { times(1, units, period) };
        let rate = Self { units, period, burst, one, capacity: 0 };
        Self { capacity: rate.nanos_of(burst), ..rate }
    }
    /// How many units in a period.
    pub fn units(self) -> u64 {
        self.units
    }
    /// The time for so many.
    pub fn period(self) -> Duration {
        Duration::from_nanos(self.period)
    }
    /// How many units at once.
    pub fn at_once(self) -> u64 {
        self.burst
    }
    /// The time that so many units take up, at most 73 years.
    pub fn time_of(self, units: u64) -> Duration {
        Duration::from_nanos(self.nanos_of(units))
    }
    /// How far ahead of time the units of a burst may come.
    pub fn capacity(self) -> Duration {
        Duration::from_nanos(self.capacity)
    }
    /// How many units take up so much time at most.
    pub fn units_in(self, time: Duration) -> u64 {
        self.units_within(nanos(time))
    }
    /// A part of this: one of `parts` shares, with room for so many units as far as the whole has it.
    pub(crate) fn share(self, parts: u64, needs: u64) -> Self {
        if parts <= 1 {
            return self;
        }
        let burst = (self.burst / parts).max(needs.min(self.burst)).max(1);
        Self::with(self.units, self.period.saturating_mul(parts).min(LONGEST), burst)
    }

    pub(crate) fn nanos_of(self, units: u64) -> u64 {
        match units {
            0 => 0,
            1 => self.one,
            units if self.one >= MICROSECOND => self.one.saturating_mul(units).min(LONGEST),
            units => times(units, self.units, self.period),
        }
    }
    pub(crate) fn units_within(self, nanos: u64) -> u64 {
        if self.one >= MICROSECOND {
            return nanos / self.one;
        }
        let units = u128::from(nanos) * u128::from(self.units) / u128::from(self.period);
        u64::try_from(units).unwrap_or(u64::MAX)
    }
    /// Decides about units that come at `now`, for a key whose units have taken up the time until `used_until`: there must be room for some, and some are
    /// taken. They may come so many nanoseconds too early. If they may go on, the new `used_until`, and how much too early they come.
    pub(crate) fn admit(
        self,
        used_until: u64,
        now: u64,
        price: Price,
        patience: u64,
    ) -> Result<(u64, u64), Full> {
        let ahead = used_until.saturating_sub(now).min(self.most_ahead(patience));
        let time = self.nanos_of(price.needs);
        let over = (ahead + time).saturating_sub(self.capacity);
        if over > patience || time > self.capacity {
            return Err(if time > self.capacity { Full::Never } else { Full::Early(over) });
        }
        Ok((now.saturating_add(ahead).saturating_add(self.nanos_of(price.takes)), over))
    }
    /// How far ahead of now the time is taken up at most. What is owed beyond two bursts, or beyond what waits, is let go, so that nobody waits for
    /// ages whose rate has changed, or whose units turned out to be far more than they seemed.
    pub(crate) fn most_ahead(self, patience: u64) -> u64 {
        self.capacity + self.capacity.max(patience)
    }
    /// How many units there is room for, where the time is taken up so far ahead.
    pub(crate) fn room(self, ahead: u64) -> u64 {
        self.units_within(self.capacity.saturating_sub(ahead)).min(self.burst)
    }
    /// In how many nanoseconds there is room for the next unit where there is none, or for the whole burst again.
    pub(crate) fn reset(self, ahead: u64) -> u64 {
        let early = (ahead + self.one).saturating_sub(self.capacity);
        if early > 0 { early } else { ahead }
    }
}

const MICROSECOND: u64 = 1_000;

/// A bit more than 73 years in nanoseconds: sums of a few of them are none of our worries.
const LONGEST: u64 = u64::MAX / 8;

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(LONGEST)
}

/// What `count` units take up of a period for `units`, rounded up.
fn times(count: u64, units: u64, period: u64) -> u64 {
    let time = u128::from(count) * u128::from(period);
    u64::try_from(time.div_ceil(u128::from(units))).unwrap_or(u64::MAX).min(LONGEST)
}
