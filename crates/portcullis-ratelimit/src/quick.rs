//! The way of most requests: quotas that are counted here, and have room.
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Context, QuotaUse};

use crate::cost::{Cost, Price};
use crate::fields::{self, Fields, Said, Text};
use crate::key::Asked;
use crate::limiter::{Limiter, Named, signed};
use crate::memory::{Left, Now, rates};
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
        for (at, named) in self.quotas.iter().enumerate() {
            if !named.counts(limits) {
                continue;
            }
            let Some((which, left)) = named.quick(asked, now) else {
                let counted = self.quotas.iter().take(at).filter(|named| named.counts(limits));
                counted.for_each(|named| named.undo(asked, now, usize::MAX));
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
}

impl Named {
    /// Whose bounds they are, and what is left; `None` where one has no room, and then none is counted.
    fn quick(&self, asked: &Asked<'_>, now: Now<'_>) -> Option<(usize, Option<Left>)> {
        let (which, windows) = self.quota.known_bounds(asked.context);
        let memory = &self.counts.memory;
        let who = memory.number(&self.quota.key, asked);
        let mut tightest = None::<Left>;
        for (nth, bound) in rates(windows).enumerate() {
            let Ok((left, _)) = memory.admit(bound, who, now, self.price(), 0) else {
                self.undo(asked, now, nth);
                return None;
            };
            tightest = Some(tightest.map_or(left, |known| known.tighter(left)));
        }
        Some((which, tightest))
    }
    /// Gives back what the first bounds have counted.
    fn undo(&self, asked: &Asked<'_>, now: Now<'_>, bounds: usize) {
        let (_, windows) = self.quota.known_bounds(asked.context);
        let who = self.counts.memory.number(&self.quota.key, asked);
        for bound in rates(windows).take(bounds) {
            self.counts.memory.settle(bound, who, now.at, -signed(self.price().takes));
        }
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
        for (nth, bound) in rates(&self.quota.windows).enumerate() {
            if let Err(full) = memory.admit(bound, who, now, price, 0) {
                for bound in rates(&self.quota.windows).take(nth) {
                    memory.settle(bound, who, now.at, -signed(units));
                }
                return Err(full);
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
