//! A request that quotas have let through, until its answer is over.
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use portcullis_core::{Body, Context, End, Watch};
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::cost::{Cost, Price};
use crate::decide::lease_size;
use crate::fields::{self, Fields, Said, Text};
use crate::limiter::{Limiter, Named, Permits, Refusal, signed};
use crate::memory::{Left, Span, rates};
use crate::quota::Windows;
use crate::store::Take;

/// A request that quotas have let through. What it took is given back when it is dropped before it was [`called`](Self::called).
pub(crate) struct Admitted {
    limiter: Arc<Limiter>,
    pub(crate) context: Context,
    pub(crate) held: SmallVec<[Held; 1]>,
    phase: Phase,
    /// How many bytes of the answer have passed.
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The inner service has not been called.
    Before,
    /// It has, and what it cost is not settled.
    Called,
    Over,
}

/// What a request has of one quota.
pub(crate) struct Held {
    pub(crate) quota: usize,
    /// Whose it is, in this process and in others.
    pub(crate) who: u64,
    pub(crate) digest: [u8; 16],
    /// Whose bounds these are.
    pub(crate) which: Option<usize>,
    pub(crate) windows: Windows,
    pub(crate) place: Place,
    pub(crate) price: Price,
    /// How many units it has taken.
    pub(crate) units: u64,
    /// Of the bound of which the least is left.
    pub(crate) left: Option<Left>,
    /// How many nanoseconds it has to wait.
    pub(crate) early: u64,
    pub(crate) degraded: bool,
    /// Of how many shares it was counted in one.
    pub(crate) shares: u64,
    /// The time that it takes up, of each rate.
    pub(crate) spans: SmallVec<[Span; 1]>,
    pub(crate) permits: Permits,
}

/// Where it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Lease,
    Store,
    /// The store has yet to be asked.
    Unasked,
    Nowhere,
}

impl Admitted {
    pub(crate) fn new(limiter: &Arc<Limiter>, context: &Context) -> Self {
        Self {
            limiter: Arc::clone(limiter),
            context: context.clone(),
            held: SmallVec::new(),
            phase: Phase::Before,
            bytes: 0,
        }
    }
    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// Says that the inner service is called now: what was taken stays taken.
    pub(crate) fn called(&mut self) {
        self.phase = Phase::Called;
        for held in &self.held {
            let Some(named) = self.limiter.quotas.get(held.quota) else { continue };
            if let Some(left) = held.left.filter(|_| !named.quota.shadow) {
                named.show(&self.context, left);
            }
        }
    }

    /// Whether anything is to be done when there is an answer, but to say what is left.
    pub(crate) fn lasts(&self) -> bool {
        self.held.iter().any(|held| {
            let named = self.limiter.quotas.get(held.quota);
            !held.permits.is_empty() || named.is_some_and(|named| named.quota.cost.is_settled())
        })
    }
    /// Nothing is to be done any more.
    pub(crate) fn over(mut self) {
        self.phase = Phase::Over;
    }

    /// The answer of the inner service. Until its body is over the request counts as one under way.
    pub(crate) fn answer(mut self, response: Response<Body>) -> Response<Body> {
        self.settle_by_head(response.status(), response.headers());
        let lasts = self.held.iter().any(|held| {
            let named = self.limiter.quotas.get(held.quota);
            !held.permits.is_empty()
                || named.is_some_and(|named| named.quota.cost.waits_for_the_end())
        });
        if !lasts {
            self.over();
            return response;
        }
        if response.body().is_end_stream() {
            self.settle_at_end();
            return response;
        }
        response.map(|body| body.watched(self))
    }

    /// What an answer says: about quotas that refuse, and about those that do not.
    pub(crate) fn say(&self, refusals: &[Refusal]) -> Said {
        let mut said = Said::default();
        let fields = self.limiter.fields;
        if fields == Fields::Off {
            return said;
        }
        let (mut items, mut tightest) = (Text::new(), None::<Left>);
        let mut say = |named: &Named, left: Left, is_degraded, policy| {
            said.policy(policy);
            fields::item(&mut items, (&named.name, &named.item), left, is_degraded);
            tightest = Some(tightest.map_or(left, |known| known.tighter(left)));
        };
        for Refusal { quota, left, degraded, .. } in refusals {
            let Some(named) = self.limiter.quotas.get(*quota) else { continue };
            let (which, windows) = named.quota.bounds_for(&self.context);
            say(named, *left, *degraded, named.policy(which, &windows));
        }
        for held in &self.held {
            if refusals.iter().any(|refusal| refusal.quota == held.quota) {
                continue;
            }
            let Some(named) = self.limiter.quotas.get(held.quota) else { continue };
            let Some(left) = held.left.filter(|_| !named.quota.shadow) else { continue };
            say(named, left, held.degraded, named.policy(held.which, &held.windows));
        }
        said.items(&items, tightest.filter(|_| fields == Fields::WithLegacy));
        said
    }

    fn settle_by_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        for held in &self.held {
            let Some(named) = self.limiter.quotas.get(held.quota) else { continue };
            match &named.quota.cost {
                Cost::SettledBy { header, .. } => {
                    let units = headers.get(header).and_then(|value| value.to_str().ok());
                    if let Some(units) = units.and_then(|units| units.trim().parse().ok()) {
                        self.settle(named, held, units);
                    }
                }
                Cost::Refusals
                    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) =>
                {
                    self.settle(named, held, 1);
                }
                _ => {}
            }
        }
    }

    /// By what is known when nothing more comes.
    fn settle_at_end(&mut self) {
        self.phase = Phase::Over;
        for held in &self.held {
            let Some(named) = self.limiter.quotas.get(held.quota) else { continue };
            match &named.quota.cost {
                Cost::Settled { .. } => {
                    if let Some(units) = self.context.spent() {
                        self.settle(named, held, units);
                    }
                }
                Cost::Bytes => self.settle(named, held, self.bytes),
                _ => {}
            }
        }
    }

    /// Counts what it was in place of what was taken.
    fn settle(&self, named: &Named, held: &Held, units: u64) {
        let more = signed(units).saturating_sub(signed(held.units));
        if more == 0 {
            return;
        }
        match held.place {
            Place::Memory => {
                let (at, memory) = (self.now(), &named.counts.memory);
                for ((window, rate), span) in rates(&held.windows).zip(&held.spans) {
                    let rate = rate.share(held.shares, held.price.needs);
                    if more > 0 {
                        memory.add((window, rate), held.who, at, more.unsigned_abs());
                    } else {
                        let less = rate.nanos_of(more.unsigned_abs());
                        let back = span.left_of(less, memory.time(at));
                        memory.give_back(window, held.who, at, back);
                    }
                }
            }
            Place::Lease if more < 0 => {
                let most = if named.quota.cost.is_settled() {
                    lease_size(&held.windows).max(held.price.needs)
                } else {
                    u64::MAX
                };
                let over = named.counts.leases.of(held.who).put_back(more.unsigned_abs(), most);
                if over > 0 {
                    self.settle_in_store(named, held, -signed(over));
                }
            }
            Place::Lease | Place::Store => self.settle_in_store(named, held, more),
            Place::Unasked | Place::Nowhere => {}
        }
    }

    fn now(&self) -> Instant {
        self.context.clock().now()
    }

    /// Tells the store, and waits for nobody.
    fn settle_in_store(&self, named: &Named, held: &Held, more: i64) {
        let (Some(shared), Ok(runtime)) = (named.quota.shared.clone(), Handle::try_current())
        else {
            return;
        };
        let now = named.counts.memory.time(self.now());
        let takes: Vec<_> = rates(&held.windows)
            .enumerate()
            .filter_map(|(nth, (window, rate))| {
                let quota = Arc::clone(named.in_store.get(window)?);
                // What has passed is whose who came since; of a lease it is not known, and it was taken a while ago.
                let more = match held.spans.get(nth).filter(|_| more < 0) {
                    Some(span) => {
                        let less = span.left_of(rate.nanos_of(more.unsigned_abs()), now);
                        -signed(rate.units_within(less))
                    }
                    None => more,
                };
                (more != 0).then(|| (Take::new(quota, held.digest, rate, 0), more))
            })
            .collect();
        // Whoever was refused may find room again.
        named.counts.refused.forget(held.who);
        runtime.spawn(async move {
            for (take, more) in &takes {
                shared.store().settle(take, *more).await;
            }
        });
    }

    pub(crate) fn give_back(&self) {
        for held in &self.held {
            if let Some(named) = self.limiter.quotas.get(held.quota) {
                self.settle(named, held, 0);
            }
        }
    }
}

impl Watch for Admitted {
    fn data(&mut self, data: &Bytes) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
    }
    fn end(&mut self, _: End) {
        self.settle_at_end();
        // Those that are under way are one less now, also where the body is kept.
        self.held.clear();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        match self.phase {
            Phase::Before => self.give_back(),
            Phase::Called => self.settle_at_end(),
            Phase::Over => {}
        }
    }
}
