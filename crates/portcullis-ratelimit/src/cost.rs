//! What a request costs.
use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::key::Asked;

/// What a request costs, and when that is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cost {
    /// So much.
    Fixed(u64),
    /// As a function says.
    Asked(CostFn),
    /// So much at first; the endpoint says how much it was.
    Settled { first: u64 },
    /// The same, in a header of the answer.
    SettledBy { first: u64, header: HeaderName },
    /// The bytes of the answer's body.
    Bytes,
    /// One, when it was refused as unknown or not permitted.
    Refusals,
}

#[derive(Clone)]
pub(crate) struct CostFn(Arc<dyn Fn(&Asked<'_>) -> u64 + Send + Sync>);

/// What is taken when a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// There must be room for so many units.
    pub(crate) needs: u64,
    /// So many are taken.
    pub(crate) takes: u64,
}

impl Default for Cost {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

impl Cost {
    pub(crate) fn asked(cost: impl Fn(&Asked<'_>) -> u64 + Send + Sync + 'static) -> Self {
        Self::Asked(CostFn(Arc::new(cost)))
    }
    /// What is taken when a request comes.
    pub(crate) fn price(&self, asked: &Asked<'_>) -> Price {
        let (needs, takes) = match self {
            Self::Fixed(units) => (*units, *units),
            Self::Asked(cost) => {
                let units = cost.0(asked);
                (units, units)
            }
            Self::Settled { first } | Self::SettledBy { first, .. } => ((*first).max(1), *first),
            Self::Bytes | Self::Refusals => (1, 0),
        };
        Price { needs, takes }
    }
    /// Whether the price changes when the answer is known.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self, Self::Fixed(_) | Self::Asked(_))
    }
    /// Whether the price changes when the body of the answer is over.
    pub(crate) fn waits_for_the_end(&self) -> bool {
        matches!(self, Self::Settled { .. } | Self::Bytes)
    }
}

impl PartialEq for CostFn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl fmt::Debug for CostFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CostFn").finish_non_exhaustive()
    }
}
