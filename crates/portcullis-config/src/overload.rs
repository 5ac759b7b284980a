//! How many requests a gateway has under way at once, as its file says it.
use std::time::Duration;

use portcullis_core::stage;
use portcullis_ratelimit::{Concurrency, OverloadLayer, OverloadStats, Queue};

use crate::limits::go_on;

/// What `[overload]` says.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    pub(crate) limit: Concurrency,
    pub(crate) per_address: Option<usize>,
    pub(crate) fair: bool,
    pub(crate) queue: Option<Queue>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) paid_plans: Option<Vec<String>>,
    pub(crate) reserve: Option<usize>,
}

/// The layers that shed.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverloadLayers {
    /// By address, of whatever comes.
    pub(crate) front: Option<OverloadLayer<stage::Shed>>,
    /// What goes to a server: the limit itself. It stands behind all that refuses, so that a quick 401 or 429 neither takes room nor
    /// teaches an adaptive limit.
    pub(crate) inner: Option<OverloadLayer<stage::Inner>>,
}

/// More than there can be: in front only addresses are limited.
const NO_LIMIT: usize = u32::MAX as usize;

impl Overload {
    fn front(&self) -> Option<OverloadLayer<stage::Shed>> {
        let layer = OverloadLayer::before_routing(Concurrency::fixed(NO_LIMIT));
        let layer = layer.per_address(self.per_address?);
        Some(self.retry_after.into_iter().fold(layer, OverloadLayer::retry_after))
    }
    /// One that has nothing under way.
    pub(crate) fn inner(&self) -> OverloadLayer<stage::Inner> {
        let mut layer = OverloadLayer::inner(self.limit.clone());
        if let Some(plans) = &self.paid_plans {
            layer = layer.paid_plans(plans.iter().map(String::as_str));
        }
        if self.fair {
            layer = layer.fair();
        }
        layer = self.queue.into_iter().fold(layer, OverloadLayer::queue);
        layer = self.reserve.into_iter().fold(layer, OverloadLayer::reserve);
        self.retry_after.into_iter().fold(layer, OverloadLayer::retry_after)
    }
}

impl OverloadLayers {
    pub(crate) fn new(overload: Option<&Overload>) -> Self {
        Self { front: overload.and_then(Overload::front), inner: overload.map(Overload::inner) }
    }
    /// Goes on where others have got to, which these replace.
    pub(crate) fn continuing(self, before: &Self) -> Self {
        Self {
            front: go_on(self.front, before.front.as_ref(), OverloadLayer::continuing),
            inner: go_on(self.inner, before.inner.as_ref(), OverloadLayer::continuing),
        }
    }
    /// What they count about themselves.
    pub(crate) fn stats(&self) -> Option<OverloadStats> {
        let stats = OverloadStats::new().with("inner", self.inner.as_ref()?);
        Some(match &self.front {
            Some(front) => stats.with("front", front),
            None => stats,
        })
    }
}
