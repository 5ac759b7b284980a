//! One server of an upstream, and what everybody who sends to it shares.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::address::Origin;
use crate::balance::Load;
use crate::health::{Ejection, Probed};
use crate::pool::Pool;

/// One server of an upstream. It lives as long as it is named, however often the list is read again.
pub(crate) struct Server {
    pub(crate) origin: Origin,
    /// The origin as text.
    pub(crate) label: Arc<str>,
    /// The same in every process, and different for each server: for hashes and sticky cookies.
    pub(crate) id: u64,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) load: Load,
    pub(crate) probed: Probed,
    pub(crate) ejection: Ejection,
    pub(crate) pool: Pool,
    /// It is on the list no more.
    gone: AtomicBool,
}

/// A server as it is written down or discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) origin: Origin,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
}

impl Server {
    pub(crate) fn new(spec: &Spec, pool: Pool, since: Duration) -> Arc<Self> {
        let label: Arc<str> = spec.origin.to_string().into();
        Arc::new(Self {
            origin: spec.origin.clone(),
            id: fingerprint(&label),
            label,
            weight: spec.weight,
            priority: spec.priority,
            load: Load::new(since),
            probed: Probed::default(),
            ejection: Ejection::default(),
            pool,
            gone: AtomicBool::new(false),
        })
    }
    /// The error, with whose it is.
    pub(crate) fn blamed(&self, error: hyper::Error) -> Broken {
        Broken { server: Arc::clone(&self.label), error }
    }
    pub(crate) fn is(&self, spec: &Spec) -> bool {
        self.origin == spec.origin && self.weight == spec.weight && self.priority == spec.priority
    }
    /// Whether requests may be sent to it, as far as is known. `now` is since the upstream began.
    pub(crate) fn is_available(&self, now: Duration) -> bool {
        self.probed.is_well() && !self.ejection.is_ejected(now)
    }
    /// It is on the list no more: what runs may finish, and nothing is kept.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Relaxed);
        self.pool.close_idle();
    }
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

/// What went wrong with a server.
#[derive(Debug, thiserror::Error)]
#[error("{server}")]
pub(crate) struct Broken {
    server: Arc<str>,
    #[source]
    error: hyper::Error,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// FNV-1a with a finish: stable over versions and machines, which a hasher of the standard library is not.
pub(crate) fn fingerprint(text: &str) -> u64 {
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// Spreads the bits of a hash (the finish of `SplitMix64`).
pub(crate) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
