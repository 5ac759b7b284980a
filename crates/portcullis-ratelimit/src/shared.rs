//! Counting together with other processes.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::Respite;
use tokio::time::timeout;

use crate::store::{QuotaStore, QuotaStoreError, Take, Taken};

/// How long a store may take for an answer, unless told otherwise.
const PATIENCE: Duration = Duration::from_millis(40);

/// Counts a quota together with other processes, in a [`QuotaStore`].
///
/// Two ways:
///
/// - **exact** (the default): each request is counted in the store before it goes on, by one round trip for all quotas of the store. All processes together let through no more than
///   the quota. What was refused is remembered, so that a caller who goes on asking costs no round trips.
/// - **leased** ([`leased`](Self::leased)): a process takes a tenth of the burst ahead, and hands it out by itself. Most requests need no round
///   trip. All processes together let through no more than the quota and a tenth of its burst for each process.
///
/// When the store does not answer within 40 ms, or fails, [`OnFailure`] says what happens; after three failures in a row it is left alone for
/// 250 ms, and then one request tries it again. Answers say `degraded` in `RateLimit` then.
///
/// Clones share what is known about the store: make one for each store, and a clone for each quota.
#[derive(Clone)]
pub struct SharedCounts {
    store: Arc<Guarded>,
    on_failure: OnFailure,
    leased: bool,
}

/// What happens while the store of a quota cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Each process counts its own share: the quota divided by so many replicas, at least one unit. Nought is taken for one.
    Local {
        /// How many processes share the quota.
        replicas: u32,
    },
    /// Everybody gets through.
    Open,
    /// Nobody gets through: 429 `temporary-reduced-capacity`.
    Closed,
}

impl SharedCounts {
    /// Counts in this store. While it cannot answer, each process counts for itself as if it were alone: say how many there are by
    /// [`on_failure`](Self::on_failure).
    pub fn new(store: impl QuotaStore + 'static) -> Self {
        Self::from_arc(Arc::new(store))
    }
    /// The same, of a store that others hold too.
    pub fn from_arc(store: Arc<dyn QuotaStore>) -> Self {
        let guarded = Guarded { store, patience: PATIENCE, respite: Respite::new() };
        let on_failure = OnFailure::Local { replicas: 1 };
        Self { store: Arc::new(guarded), on_failure, leased: false }
    }
    /// What happens while the store cannot answer. Default: `Local { replicas: 1 }`.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }
    /// Takes a tenth of the burst ahead, at least one unit, and hands it out by itself. Default: it does not. A quota whose burst is less than twenty gains nothing by it.
    #[must_use]
    pub fn leased(self) -> Self {
        Self { leased: true, ..self }
    }
    /// How long the store may take for an answer. Default: 40 ms. Say it before the first clone: this one parts from those that there are.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        let store = Arc::clone(&self.store.store);
        let guarded = Guarded { store, patience, respite: Respite::new() };
        Self { store: Arc::new(guarded), ..self }
    }

    pub(crate) fn store(&self) -> &Arc<Guarded> {
        &self.store
    }
    pub(crate) fn failing(&self) -> OnFailure {
        self.on_failure
    }
    pub(crate) fn is_leased(&self) -> bool {
        self.leased
    }
}

/// Whether it is the same store, and the same happens.
impl PartialEq for SharedCounts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store.store, &other.store.store)
            && self.on_failure == other.on_failure
            && self.leased == other.leased
    }
}

impl fmt::Debug for SharedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCounts")
            .field("store", &self.store.store)
            .field("on_failure", &self.on_failure)
            .field("leased", &self.leased)
            .finish()
    }
}

/// A store that nobody waits for too long.
pub(crate) struct Guarded {
    store: Arc<dyn QuotaStore>,
    patience: Duration,
    respite: Respite,
}

impl Guarded {
    /// How long it may take for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
    /// Whether it may be asked now. Whoever is told so asks, and says how it went: by [`take`](Self::take).
    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.respite.may_ask(now)
    }
    pub(crate) async fn take(
        &self,
        asked: &[Take],
        now: Instant,
    ) -> Result<Vec<Taken>, QuotaStoreError> {
        let late = |_| QuotaStoreError("it took too long".into());
        let taken = timeout(self.patience, self.store.take(asked)).await;
        let taken = taken.map_err(late).and_then(|taken| taken).and_then(|taken| {
            let is_whole = taken.len() == asked.len();
            is_whole
                .then_some(taken)
                .ok_or_else(|| QuotaStoreError("it answered for others".into()))
        });
        match &taken {
            Ok(_) => {
                if self.respite.succeeded() {
                    tracing::info!("the store of quotas answers again");
                }
            }
            Err(error) => {
                tracing::debug!("{error}");
                if self.respite.failed(now) {
                    tracing::warn!(
                        "the store of quotas does not answer and is left alone for a while"
                    );
                }
            }
        }
        taken
    }
    pub(crate) async fn settle(&self, take: &Take, units: i64) {
        if let Ok(Err(error)) = timeout(self.patience, self.store.settle(take, units)).await {
            tracing::debug!("{error}: {units} units of `{}` are not settled", take.quota);
        }
    }
}
