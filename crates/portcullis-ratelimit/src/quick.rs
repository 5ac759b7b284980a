//! The way of most requests: quotas that are counted here, and have room.
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Context, QuotaUse};
use smallvec::SmallVec;

use crate::cost::{Cost, Price};
use crate::fields::{self, Fields, Said, Text};
use crate::key::Asked;
use crate::limiter::{Limiter, Named};
use crate::memory::{Left, Now, Span, rates};
use crate::option::Limits;
use crate::quota::{Quota, Window};
use crate::rate::Full;

/// Whether nothing but numbers in memory says what becomes of a request.
pub(crate) fn is_plain(quota: &Quota) -> bool {
    let Quota { lookup, cost, patience, shadow, exempt, shared, .. } = quota;
    let is_rate = |window: &Window| matches!(window, Window::Rate(_));
    lookup.is_none()
        && matches!(cost, Cost::Fixed(units) if *units > 0)
        && *patience == Duration::ZERO
        && !*shadow
        && exempt.is_empty()
        && shared.is_none()
        && quota.all_windows().all(|windows| windows.iter().all(is_rate))
}

impl Limiter {
    /// Counts a request where that is all there is to it, and says what its answer says. `None` where there is more to it: then nothing is counted, and it is done at length.
    pub(crate) fn quick(&self, asked: &Asked<'_>) -> Option<Said> {
        let context = asked.context;
        if !self.is_plain || context.client().is_none() {
            return None;
        }
        let limits = context.route().and_then(|route| route.options().get::<Limits>());
        let now = Now { at: context.start(), clock: context.clock() };
        let (mut said, mut items, mut tightest) = (Said::default(), Text::new(), None::<Left>);
        let mut spans = Spans::new();
        for named in &self.quotas {
            if !named.counts(limits) {
                continue;
            }
            let Some((which, left)) = named.quick(asked, now, &mut spans) else {
                self.undo(asked, now, &spans);
                return None;
            };
            let Some(left) = left else { continue };
            named.show(context, left);
            if self.fields != Fields::Off {
                said.policy(named.policies.get(which).cloned().flatten());
                fields::item(&mut items, (&named.name, &named.item), left, false);
                tightest = Some(tightest.map_or(left, |known| known.tighter(left)));
            }
        }
        said.items(&items, tightest.filter(|_| self.fields == Fields::WithLegacy));
        Some(said)
    }
    /// Gives back what has been counted.
    fn undo(&self, asked: &Asked<'_>, now: Now<'_>, spans: &[Span]) {
        let limits = asked.context.route().and_then(|route| route.options().get::<Limits>());
        let (at, mut spans) = (now.clock.now(), spans.iter());
        for named in self.quotas.iter().filter(|named| named.counts(limits)) {
            let (which, windows) = named.quota.known_bounds(asked.context);
            let memory = &named.counts.memory;
            let who = memory.number(&named.quota.key, which, asked);
            memory.undo(windows, who, spans.by_ref(), at);
        }
    }
}

/// What has been counted so far, bound by bound.
type Spans = SmallVec<[Span; 4]>;

impl Named {
    /// Whose bounds they are, and what is left; `None` where one has no room.
    fn quick(
        &self,
        asked: &Asked<'_>,
        now: Now<'_>,
        spans: &mut Spans,
    ) -> Option<(usize, Option<Left>)> {
        let (which, windows) = self.quota.known_bounds(asked.context);
        let memory = &self.counts.memory;
        let who = memory.number(&self.quota.key, which, asked);
        let mut tightest = None::<Left>;
        for (window, rate) in rates(windows) {
            let counted = memory.admit((window, rate), who, now, self.price(), 0).ok()?;
            spans.push(counted.span);
            let left = Left::of(window, rate, counted.ahead);
            tightest = Some(tightest.map_or(left, |known| known.tighter(left)));
        }
        Some((which, tightest))
    }
    /// Counts without a request.
    pub(crate) fn try_take(
        &self,
        who: &(impl Hash + ?Sized),
        units: u64,
        now: Now<'_>,
    ) -> Result<(), Full> {
        let memory = &self.counts.memory;
        let who = memory.number_of(who);
        let price = Price { needs: units, takes: units };
        let mut spans = Spans::new();
        for bound in rates(&self.quota.windows) {
            match memory.admit(bound, who, now, price, 0) {
                Ok(counted) => spans.push(counted.span),
                Err(full) => {
                    memory.undo(&self.quota.windows, who, &spans, now.clock.now());
                    return Err(full);
                }
            }
        }
        Ok(())
    }
    fn price(&self) -> Price {
        let units = if let Cost::Fixed(units) = self.quota.cost { units } else { 1 };
        Price { needs: units, takes: units }
    }
    /// Tells handlers what is left.
    pub(crate) fn show(&self, context: &Context, left: Left) {
        let name = match left.window {
            0 => Arc::clone(&self.name),
            window => fields::bound_name(&self.name, window).into(),
        };
        let reset = Duration::from_nanos(left.reset);
        context.add_quota(QuotaUse::new(name, left.limit, left.remaining, reset));
    }
}
