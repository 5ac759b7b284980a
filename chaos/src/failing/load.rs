//! Steady load of reads and writes from clients that never retry.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Ask, Client, Fault, KeepAlive, Multiplexed, paced};

/// How many clients of each kind, and how often each asks: about 1,200 requests a second.
const KEEP_ALIVE: (u64, Duration) = (32, Duration::from_millis(32));
const MULTIPLEXED: (u64, Duration) = (8, Duration::from_millis(40));

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reads: AtomicU64,
    failed_reads: AtomicU64,
    writes: AtomicU64,
    failed_writes: AtomicU64,
    unavailable: AtomicU64,
    /// How long each read took.
    took: Mutex<Vec<Duration>>,
}

impl Tally {
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }
    pub(super) fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Relaxed)
    }
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }
    pub(super) fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Relaxed)
    }
    /// How many were answered 503.
    pub(super) fn unavailable(&self) -> u64 {
        self.unavailable.load(Relaxed)
    }
    /// How long reads took, at this place of all of them.
    pub(super) fn read_quantile(&self, share: f64) -> Duration {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner).clone();
        took.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some ten thousand"
        )]
        let at = (took.len().saturating_sub(1) as f64 * share) as usize;
        took.get(at).copied().unwrap_or_default()
    }
    fn count(&self, is_write: bool, answer: Result<(), Fault>, took: Duration) {
        let (all, failed) = if is_write {
            (&self.writes, &self.failed_writes)
        } else {
            self.took.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            (&self.reads, &self.failed_reads)
        };
        all.fetch_add(1, Relaxed);
        if let Err(fault) = answer {
            failed.fetch_add(1, Relaxed);
            if fault == Fault::Status(503) {
                self.unavailable.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Clients at work until they are stopped.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    stopped: AtomicBool,
    ids: AtomicU64,
    tally: Mutex<Arc<Tally>>,
}

impl Shared {
    fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// One request of ten is a write.
    fn next(&self) -> (bool, Ask) {
        let id = self.ids.fetch_add(1, Relaxed);
        if id % 10 == 3 { (true, Ask::echo().with_id(id)) } else { (false, Ask::hello()) }
    }
}

impl Load {
    pub(super) fn start(to: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            ids: AtomicU64::new(0),
            tally: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..KEEP_ALIVE.0 {
            let client = KeepAlive::new(to);
            clients.spawn(keep_asking(client, KEEP_ALIVE.1, Arc::clone(&shared)));
        }
        for _ in 0..MULTIPLEXED.0 {
            let client = Multiplexed::new(to);
            clients.spawn(keep_asking(client, MULTIPLEXED.1, Arc::clone(&shared)));
        }
        Self { shared, clients }
    }
    pub(super) fn failed_writes(&self) -> u64 {
        self.shared.tally().failed_writes()
    }
    /// Counts from here on only.
    pub(super) fn forget(&self) {
        *self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }
    /// Lets every client get its last answer.
    pub(super) async fn stop(self) -> Arc<Tally> {
        self.shared.stopped.store(true, Relaxed);
        self.clients.join_all().await;
        self.shared.tally()
    }
}

async fn keep_asking(mut client: impl Client, every: Duration, shared: Arc<Shared>) {
    let mut pace = paced(every);
    while !shared.stopped.load(Relaxed) {
        pace.tick().await;
        let ((is_write, ask), since) = (shared.next(), Instant::now());
        let answer = client.ask(&ask).await;
        shared.tally().count(is_write, answer, since.elapsed());
    }
}
