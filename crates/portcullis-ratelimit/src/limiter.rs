//! What becomes of a request.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{Context, Problem};
use smallvec::SmallVec;

use crate::admitted::{Admitted, Held, Place};
use crate::at_once::Permit;
use crate::cost::Price;
use crate::fields::{self, Fields};
use crate::key::{Asked, Part};
use crate::kinds::{QUOTA_EXCEEDED, TEMPORARY_REDUCED_CAPACITY};
use crate::leases::{Drawn, Leases};
use crate::memory::{Left, Memory, Now, rates};
use crate::option::Limits;
use crate::quick::is_plain;
use crate::quota::{Quota, Window, Windows};
use crate::rate::{Full, nanos};
use crate::shared::{OnFailure, SharedCounts};
use crate::stats::Stats;
use crate::table::Table;

/// All quotas of a layer.
pub(crate) struct Limiter {
    pub(crate) quotas: Vec<Named>,
    pub(crate) fields: Fields,
    /// Whether it was said that clients have no address.
    pub(crate) warned: Arc<AtomicBool>,
    /// Whether nothing but numbers in memory says what becomes of a request.
    pub(crate) is_plain: bool,
}

/// A quota with its name, and what has been counted.
#[derive(Clone)]
pub(crate) struct Named {
    /// Whether it counts all that passes.
    pub(crate) everywhere: bool,
    pub(crate) name: Arc<str>,
    pub(crate) quota: Quota,
    pub(crate) counts: Arc<Counts>,
    /// `RateLimit-Policy` for the quota's own bounds, and for those of each plan.
    pub(crate) policies: Vec<Option<HeaderValue>>,
    /// What begins the item of `RateLimit`.
    pub(crate) item: Box<[u8]>,
    /// The names of its bounds in a store.
    pub(crate) in_store: Vec<Arc<str>>,
}

/// What has been counted for one quota. It outlives a change of the quota.
pub(crate) struct Counts {
    pub(crate) memory: Memory,
    /// Until when the store need not be asked about a key that it has refused.
    pub(crate) refused: Table,
    pub(crate) leases: Leases,
    pub(crate) stats: Stats,
}

/// How long it is remembered that a store has refused, in nanoseconds, and what tells that from until when.
const REMEMBERED: u64 = 1_000_000_000;
const WHILE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Why a request does not go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) quota: usize,
    pub(crate) why: Why,
    pub(crate) left: Left,
    pub(crate) degraded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is room in so many nanoseconds.
    Early(u64),
    /// It is more than there ever is room for.
    Never,
    /// So many are under way.
    AtOnce,
    /// The store cannot answer.
    Closed,
}

/// What becomes of a request as far as that can be said at once.
pub(crate) enum Begun {
    /// It goes on now.
    Passed(Admitted),
    /// It waits, or a store is asked first.
    Pending(Admitted),
    Refused(Problem),
}

/// What becomes of a request by one quota.
type Counted = Result<Held, Refusal>;

impl Counts {
    /// Remembers for a while that a store has no room for a key for so many nanoseconds: there may be some earlier, where something is given back elsewhere.
    pub(crate) fn remember(&self, who: u64, time: u64, wait: u64) {
        for (key, long) in [(who, wait), (who ^ WHILE, REMEMBERED)] {
            let until = |_| Ok::<_, ()>(time.saturating_add(long));
            // It always may.
            _ = self.refused.change(key, time, until);
        }
    }
    /// Until when a store has no room for a key, where that is remembered.
    fn remembered(&self, who: u64, time: u64) -> Option<u64> {
        let is_new = self.refused.get(who ^ WHILE).is_some_and(|until| until > time);
        if is_new { self.refused.get(who) } else { None }
    }

    pub(crate) fn new(keys: usize) -> Self {
        Self {
            memory: Memory::new(keys),
            refused: Table::new(keys.min(100_000)),
            leases: Leases::default(),
            stats: Stats::default(),
        }
    }
}

impl Named {
    pub(crate) fn new(name: Arc<str>, everywhere: bool, mut quota: Quota, keys: usize) -> Self {
        if quota.shared.as_ref().is_some_and(SharedCounts::is_leased) {
            // What is taken ahead says nothing about when there is more.
            quota.patience = Duration::ZERO;
        }
        if quota.shadow {
            // What is on trial holds nobody up.
            quota.patience = Duration::ZERO;
        }
        let policy = |windows: &Windows| fields::policy(&name, windows, &quota.cost);
        let policies = quota.all_windows().map(policy).collect();
        let longest = quota.all_windows().map(|windows| windows.len()).max().unwrap_or(0);
        let longest = if quota.lookup.is_some() { crate::memory::MOST_WINDOWS } else { longest };
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let plain = |c: char| match Some(c).filter(is_plain) {
            Some(c) => c.to_string(),
            None => format!("/{:x}/", u32::from(c)),
        };
        let plain: String = name.chars().map(plain).collect();
        // No name of another quota, and no bound of one, is the same.
        let bound = |at: usize| if at == 0 { plain.clone() } else { format!("{plain}:{at}") };
        let in_store = (0..longest).map(|at| bound(at).into()).collect();
        let (item, counts) = (fields::item_start(&name), Arc::new(Counts::new(keys)));
        Self { everywhere, name, quota, counts, policies, item, in_store }
    }
    /// Whether a request to a route with these limits counts against this quota.
    pub(crate) fn counts(&self, limits: Option<&Limits>) -> bool {
        self.everywhere || limits.is_some_and(|limits| limits.contains(&self.name))
    }
}

impl Limiter {
    pub(crate) fn new(quotas: Vec<Named>, fields: Fields, warned: Arc<AtomicBool>) -> Self {
        let is_plain = quotas.iter().all(|named| is_plain(&named.quota));
        Self { quotas, fields, warned, is_plain }
    }

    /// Counts a request, as far as nobody has to be asked.
    pub(crate) fn begin(self: &Arc<Self>, asked: &Asked<'_>) -> Begun {
        // It counts as come when it came: looking at the clock costs more than all the rest. Nobody is refused by that, but by the time that it is.
        self.begin_at(asked, asked.context.start())
    }
    /// Counts a request as come at this time, as far as nobody has to be asked.
    pub(crate) fn begin_at(self: &Arc<Self>, asked: &Asked<'_>, at: Instant) -> Begun {
        let context = asked.context;
        let limits = context.route().and_then(|route| route.options().get::<Limits>());
        self.warn_of_unknown(context);
        let now = Now { at, clock: context.clock() };
        let mut admitted = Admitted::new(self, context);
        let counting = || self.quotas.iter().enumerate().filter(|(_, quota)| quota.counts(limits));
        for (at, named) in counting() {
            if !named.quota.exempt.is_empty() && named.quota.is_exempt(asked) {
                continue;
            }
            match named.count(at, asked, now) {
                None => {}
                Some(Ok(held)) => admitted.held.push(held),
                Some(Err(refusal)) if named.quota.shadow => {
                    self.would_refuse(refusal, context);
                }
                Some(Err(refusal)) => {
                    // Who is refused is told when there is room in all of them.
                    let now = Now { at: now.clock.now(), ..now };
                    let later = counting().skip_while(|(later, _)| *later <= at);
                    let later = later.filter(|(_, quota)| !quota.quota.shadow);
                    let later = later.filter_map(|(at, quota)| quota.look(at, asked, now));
                    let refusals = [refusal].into_iter().chain(later);
                    return Begun::Refused(self.refused(&refusals.collect::<Vec<_>>(), &admitted));
                }
            }
        }
        let waits = admitted.held.iter().any(|held| held.place == Place::Unasked || held.early > 0);
        if waits { Begun::Pending(admitted) } else { Begun::Passed(admitted) }
    }

    /// Says once that clients without an address share one count.
    fn warn_of_unknown(&self, context: &Context) {
        if context.client().is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the address of the client is not known, so all such clients share one limit: let the server or \
                 the adapter pass the peer's address on (axum: serve with connect info, and put `BridgeLayer` \
                 outside of a layer that is used without a stack)"
            );
        }
    }

    pub(crate) fn would_refuse(&self, refusal: Refusal, context: &Context) {
        let Some(named) = self.quotas.get(refusal.quota) else { return };
        named.counts.stats.would_refuse.more();
        context.note("limit", || format!("the quota `{}`, on trial, would refuse", named.name));
        tracing::debug!(quota = &*named.name, "a quota on trial would refuse");
    }

    /// The answer to a request that some quotas have no room for, the first of which refuses it.
    pub(crate) fn refused(&self, refusals: &[Refusal], admitted: &Admitted) -> Problem {
        let names: Vec<_> = refusals.iter().filter_map(|refusal| self.name(refusal)).collect();
        let name = names.first().cloned().unwrap_or_default();
        let context = &admitted.context;
        if let Some(first) = refusals.first()
            && let Some(named) = self.quotas.get(first.quota)
        {
            named.counts.stats.refused.more();
        }
        let wait = refusals.iter().map(Refusal::wait).max().flatten();
        let is_closed = refusals.iter().any(|refusal| refusal.why == Why::Closed);
        context.note("limit", || match wait {
            Some(wait) => format!("over the quota `{name}`, {wait:?} too early"),
            None => format!("over the quota `{name}`"),
        });
        let kind = if is_closed { TEMPORARY_REDUCED_CAPACITY } else { QUOTA_EXCEEDED };
        let never = refusals.iter().any(|refusal| refusal.why == Why::Never);
        let mut problem = Problem::new(kind)
            .cause(format!("over the quota `{name}`"))
            .member("violated-policies", names)
            .retry_is_safe();
        if never {
            problem = problem.detail("The request costs more than there ever is room for.");
        } else {
            // Whoever is too many just now is told to come back soon.
            let seconds = wait.map_or(1, |wait| fields::seconds(nanos(wait)).max(1));
            problem = problem.header(RETRY_AFTER, HeaderValue::from(seconds));
            problem = problem.detail(match seconds {
                1 => "Try again in a second.".to_owned(),
                seconds => format!("Try again in {seconds} seconds."),
            });
        }
        Self::add_fields(problem, refusals, admitted)
    }

    /// As the fields call it.
    fn name(&self, refusal: &Refusal) -> Option<String> {
        let named = self.quotas.get(refusal.quota)?;
        Some(fields::bound_name(&named.name, refusal.left.window))
    }

    fn add_fields(problem: Problem, refusals: &[Refusal], admitted: &Admitted) -> Problem {
        let mut headers = HeaderMap::new();
        admitted.say(refusals).add_to(&mut headers);
        let mut last = None;
        headers.into_iter().fold(problem, |problem, (name, value)| {
            last = name.or(last.take());
            match &last {
                Some(name) => problem.header(name.clone(), value),
                None => problem,
            }
        })
    }
}

impl Refusal {
    /// For how many nanoseconds there is no room.
    pub(crate) fn how_long(&self) -> u64 {
        match self.why {
            Why::Early(wait) => wait,
            Why::Never => u64::MAX,
            Why::AtOnce | Why::Closed => 0,
        }
    }
    fn wait(&self) -> Option<Duration> {
        match self.why {
            Why::Early(wait) => Some(Duration::from_nanos(wait)),
            Why::Never | Why::AtOnce | Why::Closed => None,
        }
    }
}

impl Named {
    /// What the bounds of a request are.
    pub(crate) fn policy(&self, which: Option<usize>, windows: &Windows) -> Option<HeaderValue> {
        match which.and_then(|which| self.policies.get(which)) {
            Some(policy) => policy.clone(),
            None => fields::policy(&self.name, windows, &self.quota.cost),
        }
    }

    /// Counts a request, as far as no store has to be asked. `None` where it costs nothing.
    fn count(&self, at: usize, asked: &Asked<'_>, now: Now<'_>) -> Option<Counted> {
        let quota = &self.quota;
        let (which, windows) = quota.bounds_for(asked.context);
        let price = quota.cost.price(asked);
        if price.needs == 0 {
            return None;
        }
        let memory = &self.counts.memory;
        let mut held = Held {
            quota: at,
            who: memory.number(&quota.key, which.unwrap_or(0), asked),
            digest: [0; 16],
            which,
            windows,
            place: Place::Memory,
            units: price.takes,
            price,
            left: None,
            early: 0,
            degraded: false,
            shares: 1,
            spans: SmallVec::new(),
            permits: Vec::new(),
        };
        if let Err(refusal) = self.enter(&mut held) {
            return Some(Err(refusal));
        }
        Some(match &quota.shared {
            None => self.count_here(held, now, 1),
            Some(shared) => self.count_shared(shared, held, asked, now),
        })
    }

    /// Makes it one of those that are under way.
    fn enter(&self, held: &mut Held) -> Result<(), Refusal> {
        let windows = Arc::clone(&held.windows);
        for (window, bound) in windows.iter().enumerate() {
            let Window::AtOnce(most) = *bound else { continue };
            let Some((permit, left)) = self.counts.memory.enter(window, most, held.who) else {
                let left = Left::at_once(window, most, 0);
                let quota = held.quota;
                return Err(Refusal { quota, why: Why::AtOnce, left, degraded: false });
            };
            held.permits.push(permit);
            held.leaves(Left::at_once(window, most, left));
        }
        Ok(())
    }

    /// Counts in this process, a share of so many.
    fn count_here(&self, mut held: Held, now: Now<'_>, shares: u64) -> Counted {
        let memory = &self.counts.memory;
        let windows = Arc::clone(&held.windows);
        held.place = Place::Memory;
        held.spans.clear();
        for (window, rate) in rates(&windows) {
            let rate = rate.share(shares, held.price.needs);
            let patience = nanos(self.quota.patience);
            match memory.admit((window, rate), held.who, now, held.price, patience) {
                Ok(counted) => {
                    held.leaves(Left::of(window, rate, counted.ahead));
                    held.early = held.early.max(counted.early);
                    held.spans.push(counted.span);
                }
                Err(full) => {
                    let now = Now { at: now.clock.now(), ..now };
                    memory.undo(&windows, held.who, &held.spans, now.at);
                    // Of several the longest wait is told.
                    let worst = self.worst(&windows, held.who, held.price, now, shares);
                    let (full, left) = worst.unwrap_or_else(|| (full, held.none_left(0)));
                    return Err(held.refusal(full, left));
                }
            }
        }
        held.shares = shares;
        Ok(held)
    }

    /// What a request that is refused elsewhere would find here, if that is no room.
    fn look(&self, at: usize, asked: &Asked<'_>, now: Now<'_>) -> Option<Refusal> {
        if self.quota.shared.is_some() || self.quota.is_exempt(asked) {
            return None;
        }
        let (which, windows) = self.quota.bounds_for(asked.context);
        let price = self.quota.cost.price(asked);
        if price.needs == 0 {
            return None;
        }
        let who = self.counts.memory.number(&self.quota.key, which.unwrap_or(0), asked);
        let (full, left) = self.worst(&windows, who, price, now, 1)?;
        let why = match full {
            Full::Early(wait) => Why::Early(wait),
            Full::Never => Why::Never,
        };
        Some(Refusal { quota: at, why, left, degraded: false })
    }

    /// Of the bounds that have no room, here and counted in one of so many shares, the one that has none for longest.
    fn worst(
        &self,
        windows: &Windows,
        who: u64,
        price: Price,
        now: Now<'_>,
        shares: u64,
    ) -> Option<(Full, Left)> {
        let (memory, patience) = (&self.counts.memory, nanos(self.quota.patience));
        let full = rates(windows).filter_map(|(window, rate)| {
            let bound = (window, rate.share(shares, price.needs));
            let (left, full) = memory.look(bound, who, now, price, patience);
            Some((full?, left))
        });
        full.max_by_key(|(full, _)| *full)
    }

    /// Counts by what is known here of the store.
    fn count_shared(
        &self,
        shared: &SharedCounts,
        mut held: Held,
        asked: &Asked<'_>,
        now: Now<'_>,
    ) -> Counted {
        if rates(&held.windows).next().is_none() {
            return Ok(held);
        }
        let now = Now { at: now.clock.now(), ..now };
        let time = self.counts.memory.time(now.at);
        if shared.is_leased() {
            let (needs, takes) = (held.price.needs, store_units(held.price));
            match self.counts.leases.of(held.who).draw(needs, takes, time) {
                Drawn::Yes(left) => {
                    if self.quota.cost.is_settled() {
                        held.digest = digest(self, held.which, asked);
                    }
                    held.place = Place::Lease;
                    held.units = takes;
                    held.leaves_of_lease(left);
                    return Ok(held);
                }
                Drawn::No(wait) if wait > nanos(self.quota.patience) => {
                    let left = held.none_left(wait);
                    return Err(held.refusal(Full::Early(wait), left));
                }
                Drawn::No(_) | Drawn::Ask => {}
            }
        } else if let Some(wait) = self.remembered(&held, time) {
            let left = held.none_left(wait);
            return Err(held.refusal(Full::Early(wait), left));
        }
        if !shared.store().may_ask(now.at) {
            return self.without_store(shared, held, now);
        }
        held.digest = digest(self, held.which, asked);
        held.place = Place::Unasked;
        Ok(held)
    }

    /// How long the store need not be asked about a key that it has refused.
    fn remembered(&self, held: &Held, time: u64) -> Option<u64> {
        let until = self.counts.remembered(held.who, time)?;
        // What waits does so by the store.
        until.checked_sub(time).filter(|wait| *wait > nanos(self.quota.patience))
    }

    /// Decides while the store cannot answer.
    pub(crate) fn without_store(
        &self,
        shared: &SharedCounts,
        mut held: Held,
        now: Now<'_>,
    ) -> Counted {
        self.counts.stats.degraded.more();
        held.degraded = true;
        match shared.failing() {
            OnFailure::Local { replicas } => self.count_here(held, now, u64::from(replicas.max(1))),
            OnFailure::Open => {
                held.place = Place::Nowhere;
                held.units = 0;
                let first = rates(&held.windows).next();
                if let Some((window, rate)) = first {
                    held.leaves(Left::of(window, rate, 0));
                }
                Ok(held)
            }
            OnFailure::Closed => {
                let left = held.none_left(0);
                let (quota, why) = (held.quota, Why::Closed);
                Err(Refusal { quota, why, left, degraded: true })
            }
        }
    }
}

/// A key, as processes know it that share it.
fn digest(named: &Named, which: Option<usize>, asked: &Asked<'_>) -> [u8; 16] {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    let plan = which.and_then(|which| named.quota.plans.get(which.checked_sub(1)?));
    if let Some((plan, _)) = plan {
        digest.update((plan.len() as u64).to_be_bytes());
        digest.update(plan.as_bytes());
    }
    named.quota.key.parts(asked, &mut |part: Part<'_>| part.digest(&mut digest));
    let mut who = [0; 16];
    who.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    who
}

pub(crate) fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Held {
    /// That so much is left of one of its bounds.
    pub(crate) fn leaves(&mut self, left: Left) {
        self.left = Some(self.left.map_or(left, |known| known.tighter(left)));
    }
    pub(crate) fn leaves_of_lease(&mut self, remaining: u64) {
        let first = rates(&self.windows).next();
        if let Some((window, rate)) = first {
            let limit = rate.at_once();
            let remaining = remaining.min(limit);
            let reset = rate.nanos_of(limit - remaining);
            self.leaves(Left { window, limit, remaining, reset });
        }
    }
    pub(crate) fn none_left(&self, wait: u64) -> Left {
        let first = rates(&self.windows).next();
        let (window, limit) = first.map_or((0, 0), |(window, rate)| (window, rate.at_once()));
        Left { window, limit, remaining: 0, reset: wait }
    }
    pub(crate) fn refusal(&self, full: Full, left: Left) -> Refusal {
        let why = match full {
            Full::Early(wait) => Why::Early(wait),
            Full::Never => Why::Never,
        };
        Refusal { quota: self.quota, why, left, degraded: self.degraded }
    }
}

pub(crate) type Permits = Vec<Permit>;

/// Taken when it is needed, and taken at all.
pub(crate) fn store_units(price: Price) -> u64 {
    price.takes.min(price.needs)
}
