//! What a quota is: how much, by what it is counted, and what becomes of what is too much.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portcullis_core::{Context, Identity};

use crate::cost::Cost;
use crate::key::{Asked, Key};
use crate::rate::Rate;
use crate::shared::SharedCounts;

/// How much somebody may use, by what it is counted, and what becomes of what is too much.
///
/// ```
/// use std::time::Duration;
/// use portcullis_ratelimit::{Key, at_once, per_hour, per_minute, per_second};
/// let quota = per_second(10)
///     .burst(30)
///     .and(per_hour(5_000)) // and no more than that
///     .and(at_once(4)) // nor more than four under way at once
///     .by(Key::Identity)
///     .plan("pro", per_second(100).and(per_hour(100_000)));
/// // One that waits a little before it is refused.
/// let patient = per_minute(60).waiting(Duration::from_millis(500));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    pub(crate) windows: Windows,
    pub(crate) plans: Arc<[(Arc<str>, Windows)]>,
    pub(crate) lookup: Option<WindowsFn>,
    pub(crate) key: Key,
    pub(crate) cost: Cost,
    pub(crate) patience: Duration,
    pub(crate) shadow: bool,
    pub(crate) exempt: Vec<Exempt>,
    pub(crate) shared: Option<SharedCounts>,
}

pub(crate) type Windows = Arc<[Window]>;

/// One bound of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// So much in so much time.
    Rate(Rate),
    /// So many requests under way at once, until their answers are over.
    AtOnce(u32),
}

/// `units` a second, as many at once. Nought is taken for one.
pub fn per_second(units: u64) -> Quota {
    per(Duration::from_secs(1), units)
}
/// `units` a minute, as many at once. Nought is taken for one.
pub fn per_minute(units: u64) -> Quota {
    per(Duration::from_secs(60), units)
}
/// `units` an hour, as many at once. Nought is taken for one.
pub fn per_hour(units: u64) -> Quota {
    per(Duration::from_secs(3_600), units)
}
/// `units` a day, as many at once. Nought is taken for one.
pub fn per_day(units: u64) -> Quota {
    per(Duration::from_secs(86_400), units)
}
/// `units` in this time, as many at once. Nought is taken for one.
pub fn per(period: Duration, units: u64) -> Quota {
    Quota::of([Window::Rate(Rate::new(units, period))])
}
/// So many requests under way at once, until their answers are over. Nought is taken for one. They are counted in each process, also where rates are
/// counted together.
pub fn at_once(requests: u32) -> Quota {
    Quota::of([Window::AtOnce(requests.max(1))])
}
/// No bound: for a plan that has none.
pub fn unlimited() -> Quota {
    Quota::of([])
}

impl Quota {
    fn of(windows: impl Into<Windows>) -> Self {
        Self {
            windows: windows.into(),
            plans: Arc::default(),
            lookup: None,
            key: Key::default(),
            cost: Cost::default(),
            patience: Duration::ZERO,
            shadow: false,
            exempt: Vec::new(),
            shared: None,
        }
    }
    /// How many units may come at once. Default: as many as in one period. Nought is taken for one. Of several bounds it is that of the last.
    #[must_use]
    pub fn burst(mut self, burst: u64) -> Self {
        let mut windows = self.windows.to_vec();
        if let Some(Window::Rate(rate)) = windows.last_mut() {
            *rate = rate.burst(burst);
        }
        self.windows = windows.into();
        self
    }
    /// Adds the bounds of another quota: there must be room in all.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "it reads as one quota")]
    pub fn and(self, other: Self) -> Self {
        let windows = self.windows.iter().chain(&*other.windows).copied().collect();
        Self { windows, ..self }
    }
    /// By what it is counted. Default: [`Key::Address`].
    #[must_use]
    pub fn by(self, key: impl Into<Key>) -> Self {
        Self { key: key.into(), ..self }
    }
    /// The bounds for identities of this plan ([`Identity::plan`](portcullis_core::Identity::plan)); those of another plan, or of none, have the quota's own. Only the bounds
    /// of `quota` are looked at. Each plan has counts of its own, also under one key: somebody whose plan changes begins anew.
    #[must_use]
    pub fn plan(self, name: &str, quota: Self) -> Self {
        let plans = self.plans.iter().filter(|(known, _)| &**known != name).cloned();
        let plans = plans.chain([(name.into(), quota.windows)]).collect();
        Self { plans, ..self }
    }
    /// Looks the bounds up for each request: limits that change while the program runs. `None` leaves it at those of the plan. Only the bounds of what it answers are looked
    /// at, and only the first eight; it must answer at once, as from memory. All who share a key should have the same.
    #[must_use]
    pub fn looked_up(
        self,
        lookup: impl Fn(&Context) -> Option<Self> + Send + Sync + 'static,
    ) -> Self {
        let lookup = move |context: &Context| Some(lookup(context)?.windows);
        Self { lookup: Some(WindowsFn(Arc::new(lookup))), ..self }
    }

    /// What each request costs. Default: 1. One that costs more than the burst never gets through.
    #[must_use]
    pub fn cost(self, units: u64) -> Self {
        Self { cost: Cost::Fixed(units), ..self }
    }
    /// What a request costs, by what it asks for.
    #[must_use]
    pub fn cost_of(self, cost: impl Fn(&Asked<'_>) -> u64 + Send + Sync + 'static) -> Self {
        Self { cost: Cost::asked(cost), ..self }
    }
    /// Takes so many units first, and settles when the answer is over: for what the endpoint has said by
    /// [`Context::spend`], as for the tokens of a language model. Where it says nothing it stays at what was taken first.
    #[must_use]
    pub fn settled(self, first: u64) -> Self {
        Self { cost: Cost::Settled { first }, ..self }
    }
    /// The same, by the number in a header of the answer, which an upstream writes. The header goes on to the client.
    #[must_use]
    pub fn settled_by(self, header: HeaderName, first: u64) -> Self {
        Self { cost: Cost::SettledBy { first, header }, ..self }
    }
    /// Counts the bytes of answers' bodies, each when it is over. A request is let through as long as there is room for one byte; what it takes more is owed, up to two bursts. Put
    /// [`at_once`] beside it, since what is under way has not been counted. How large requests are says a route's `body_limit`.
    #[must_use]
    pub fn bytes(self) -> Self {
        Self { cost: Cost::Bytes, ..self }
    }
    /// Counts only requests that are answered with 401 or 403, so that guessing is limited and nothing else. Whoever has used it up is refused with whatever they ask. It stands in front of
    /// authentication, where all of these answers are seen. Guesses that are under way at the same time all get through: `.and(at_once(10))` bounds how many that are.
    #[must_use]
    pub fn refusals(self) -> Self {
        Self { cost: Cost::Refusals, ..self }
    }

    /// Lets a request that comes too early wait, if not longer than this, and not past its [deadline](portcullis_core::Deadline). Default: none waits. It needs a tokio
    /// runtime. What waits has its place in time already: who is dropped while waiting gives it back.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
    /// Refuses nobody, and only counts whom it would have refused: to try a quota out.
    #[must_use]
    pub fn shadow(self) -> Self {
        Self { shadow: true, ..self }
    }
    /// Counts no request for which this says so. May be said several times.
    #[must_use]
    pub fn exempt(mut self, exempt: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.exempt.push(Exempt(Arc::new(exempt)));
        self
    }
    /// Counts together with other processes. Default: in this process alone.
    #[must_use]
    pub fn shared(self, counts: SharedCounts) -> Self {
        Self { shared: Some(counts), ..self }
    }

    /// By what it is counted.
    pub fn key(&self) -> &Key {
        &self.key
    }
    /// The bounds of a plan; those of nobody in particular where there is none of this name.
    pub fn bounds(&self, plan: Option<&str>) -> &[Window] {
        let known = |plan: &str| self.plans.iter().find(|(name, _)| &**name == plan);
        plan.and_then(known).map_or(&*self.windows, |(_, windows)| windows)
    }
    /// The bounds for whoever sends this request, and which they are: as [`known_bounds`](Self::known_bounds) says, and `None` for those that were looked
    /// up.
    pub(crate) fn bounds_for(&self, context: &Context) -> (Option<usize>, Windows) {
        if let Some(windows) = self.lookup.as_ref().and_then(|lookup| lookup.0(context)) {
            return (None, windows);
        }
        let (which, windows) = self.known_bounds(context);
        (Some(which), Arc::clone(windows))
    }
    /// The bounds of whoever sends this request, by their plan, and which they are: 0 for the quota's own, one more than its place for a plan's.
    pub(crate) fn known_bounds(&self, context: &Context) -> (usize, &Windows) {
        if self.plans.is_empty() {
            return (0, &self.windows);
        }
        let known = |plan: &str| self.plans.iter().position(|(name, _)| &**name == plan);
        let plan = context.identity().and_then(Identity::plan).and_then(known);
        let windows = plan.and_then(|at| self.plans.get(at)).map(|(_, windows)| windows);
        (plan.map_or(0, |at| at + 1), windows.unwrap_or(&self.windows))
    }
    /// Whether who is asking must be known.
    pub(crate) fn needs_identity(&self) -> bool {
        self.key.needs_identity() || !self.plans.is_empty()
    }
    /// The quota's own bounds, and those of each plan.
    pub(crate) fn all_windows(&self) -> impl Iterator<Item = &Windows> {
        [&self.windows].into_iter().chain(self.plans.iter().map(|(_, windows)| windows))
    }
    pub(crate) fn is_exempt(&self, asked: &Asked<'_>) -> bool {
        self.exempt.iter().any(|exempt| exempt.0(asked))
    }
}

#[derive(Clone)]
pub(crate) struct WindowsFn(Arc<Lookup>);

type Lookup = dyn Fn(&Context) -> Option<Windows> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Exempt(Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>);

impl PartialEq for WindowsFn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl PartialEq for Exempt {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl fmt::Debug for WindowsFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowsFn").finish_non_exhaustive()
    }
}
impl fmt::Debug for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exempt").finish_non_exhaustive()
    }
}
