//! The counts of one quota, in memory.
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use portcullis_core::Clock;

use crate::at_once::{AtOnce, Permit};
use crate::cost::Price;
use crate::key::{Asked, Key};
use crate::quota::Window;
use crate::rate::{Full, Rate, nanos};
use crate::table::Table;

/// How many bounds a quota has at most.
pub(crate) const MOST_WINDOWS: usize = 8;

/// The counts of one quota, in memory. Each bound has its own.
pub(crate) struct Memory {
    /// How many keys are remembered at most.
    keys: usize,
    hasher: SeedableRandomState,
    /// When time begins for it: with the first request.
    epoch: OnceLock<Instant>,
    tables: [OnceLock<Table>; MOST_WINDOWS],
    under_way: [OnceLock<AtOnce>; MOST_WINDOWS],
}

/// What is left of one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Which bound it is.
    pub(crate) window: usize,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Nanoseconds until there is more.
    pub(crate) reset: u64,
}

impl Left {
    pub(crate) fn of(window: usize, rate: Rate, ahead: u64) -> Self {
        Self {
            window,
            limit: rate.at_once(),
            remaining: rate.room(ahead),
            reset: rate.reset(ahead),
        }
    }
    pub(crate) fn at_once(window: usize, most: u32, remaining: u32) -> Self {
        Self { window, limit: most.into(), remaining: remaining.into(), reset: 0 }
    }
    /// The one of which less is left.
    pub(crate) fn tighter(self, other: Self) -> Self {
        let less = u128::from(other.remaining) * u128::from(self.limit)
            < u128::from(self.remaining) * u128::from(other.limit);
        if less { other } else { self }
    }
}

/// What one bound has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// How far ahead of now the time is taken up, in nanoseconds.
    pub(crate) ahead: u64,
    /// How many nanoseconds too early it came.
    pub(crate) early: u64,
    pub(crate) span: Span,
}

/// The time that a request takes up: the last so many nanoseconds until then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) until: u64,
    pub(crate) time: u64,
}

impl Span {
    /// How much of so many nanoseconds of it can be given back at this time: what has passed is whose who came since.
    pub(crate) fn left_of(self, nanos: u64, now: u64) -> u64 {
        nanos.min(self.time).min(self.until.saturating_sub(now))
    }
}

impl Counted {
    const NOTHING: Self = Self { ahead: 0, early: 0, span: Span { until: 0, time: 0 } };
}

/// A moment, as a request sees it.
#[derive(Clone, Copy)]
pub(crate) struct Now<'a> {
    pub(crate) at: Instant,
    pub(crate) clock: &'a Clock,
}

impl Memory {
    pub(crate) fn new(keys: usize) -> Self {
        static SEED: LazyLock<SharedSeed> =
            LazyLock::new(|| SharedSeed::from_u64(RandomState::new().hash_one(0)));
        let hasher = SeedableRandomState::with_seed(RandomState::new().hash_one(1), &SEED);
        Self {
            keys,
            hasher,
            epoch: OnceLock::new(),
            tables: Default::default(),
            under_way: Default::default(),
        }
    }

    /// The number of a key. Two keys share one, and so their counts, with a chance of 1 in 2^64.
    pub(crate) fn number(&self, key: &Key, plan: usize, asked: &Asked<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        // Plans that share a key have counts of their own: the bounds of one must not judge what another has used.
        hasher.write_usize(plan);
        key.parts(asked, &mut |part| part.hash(&mut hasher));
        hasher.finish()
    }

    /// The number of a key of an application's own.
    pub(crate) fn number_of(&self, who: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(who)
    }

    /// Nanoseconds since time began, at least one.
    pub(crate) fn time(&self, at: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| at);
        nanos(at.saturating_duration_since(epoch)) + 1
    }

    /// Counts a request against one bound.
    pub(crate) fn admit(
        &self,
        (window, rate): (usize, Rate),
        who: u64,
        now: Now<'_>,
        price: Price,
        patience: u64,
    ) -> Result<Counted, Full> {
        let Some(table) = self.table(window) else { return Ok(Counted::NOTHING) };
        let (mut time, mut early, mut refused) = (self.time(now.at), 0, None);
        let is = table.change(who, time, |used_until| {
            if used_until == 0 {
                // Whoever is not there has nothing used up now; when the request came that may have been otherwise.
                time = self.time(now.clock.now());
            }
            let admitted = rate.admit(used_until, time, price, patience).or_else(|_| {
                // Others may have come in the meantime, who looked at the clock later: nobody is refused by a time that is over.
                time = self.time(now.clock.now());
                rate.admit(used_until, time, price, patience)
            });
            refused = admitted.err();
            match admitted {
                Ok((is, over)) => {
                    early = over;
                    Ok(is)
                }
                Err(full) => let_go(used_until, time, rate.most_ahead(patience)).ok_or(full),
            }
        })?;
        if let Some(full) = refused {
            return Err(full);
        }
        if early > 0 {
            // Who has to wait does so from now on.
            time = self.time(now.clock.now());
        }
        let span = Span { until: is, time: rate.nanos_of(price.takes) };
        Ok(Counted { ahead: is.saturating_sub(time), early, span })
    }
    /// What is left, and how long a request would have to wait beyond its patience.
    pub(crate) fn look(
        &self,
        (window, rate): (usize, Rate),
        who: u64,
        now: Now<'_>,
        price: Price,
        patience: u64,
    ) -> (Left, Option<Full>) {
        let (mut time, most) = (self.time(now.at), rate.most_ahead(patience));
        let used_until = self.table(window).map(|table| {
            let change = |is| {
                // Behind the number: one that others have moved on since is not too far ahead.
                time = self.time(now.clock.now());
                let_go(is, time, most).ok_or(is)
            };
            table.change(who, 0, change).unwrap_or_else(|is| is)
        });
        let used_until = used_until.unwrap_or_default();
        let left = Left::of(window, rate, used_until.saturating_sub(time));
        (left, rate.admit(used_until, time, price, patience).err())
    }
    /// Counts so many units more, whether there is room or not.
    pub(crate) fn add(&self, (window, rate): (usize, Rate), who: u64, at: Instant, units: u64) {
        let Some(table) = self.table(window) else { return };
        let (time, by) = (self.time(at), rate.nanos_of(units));
        let most = time.saturating_add(rate.most_ahead(0));
        // It always may.
        _ = table.change(who, time, |used_until| {
            Ok::<_, ()>(used_until.max(time).saturating_add(by).min(used_until.max(most)))
        });
    }
    /// Gives back all that the first bounds have counted, as far as it has not passed.
    pub(crate) fn undo<'a>(
        &self,
        windows: &[Window],
        who: u64,
        spans: impl IntoIterator<Item = &'a Span>,
        at: Instant,
    ) {
        for ((window, _), span) in rates(windows).zip(spans) {
            self.give_back(window, who, at, span.left_of(u64::MAX, self.time(at)));
        }
    }
    /// Gives back so many nanoseconds.
    pub(crate) fn give_back(&self, window: usize, who: u64, at: Instant, nanos: u64) {
        if nanos > 0
            && let Some(table) = self.table(window)
        {
            let less = |used_until: u64| Ok::<_, ()>(used_until.saturating_sub(nanos));
            // It always may.
            _ = table.change(who, self.time(at), less);
        }
    }
    /// Lets a request be one of so many under way.
    pub(crate) fn enter(&self, window: usize, most: u32, who: u64) -> Option<(Permit, u32)> {
        self.under_way.get(window)?.get_or_init(AtOnce::default).enter(who, most)
    }

    fn table(&self, window: usize) -> Option<&Table> {
        Some(self.tables.get(window)?.get_or_init(|| Table::new(self.keys)))
    }
    /// How many bytes the counts take, and take at most.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let made = self.tables.iter().filter_map(OnceLock::get);
        made.fold((0, 0), |(bytes, most), table| (bytes + table.bytes(), most + table.most_bytes()))
    }
}

/// What remains of what is taken up further ahead than it may be; `None` where it is not.
fn let_go(used_until: u64, time: u64, most: u64) -> Option<u64> {
    // It is written down, so that whoever waits as told finds room.
    let most = time.saturating_add(most);
    (used_until > most).then_some(most)
}

/// The bounds that are rates, each with its place.
pub(crate) fn rates(windows: &[Window]) -> impl Iterator<Item = (usize, Rate)> {
    windows.iter().enumerate().filter_map(|(at, window)| match window {
        Window::Rate(rate) => Some((at, *rate)),
        Window::AtOnce(_) => None,
    })
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keys", &self.keys).finish_non_exhaustive()
    }
}
