//! The open connections to one server.
//!
//! Each thread has a shelf of its own, so that a worker with its own runtime meets no other worker here: the lock of a shelf is
//! free, except when somebody has found nothing on its own shelf and may open nothing more.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use portcullis_core::Body;
use tokio::sync::Notify;

use crate::server::Server;

/// How many threads have a shelf of their own.
const SHELVES: usize = 16;
/// How many requests are sent at once by one HTTP/2 connection.
pub(crate) const STREAMS: usize = 100;

/// What a pool may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// Connections in all, of all workers.
    pub(crate) connections: usize,
    /// For how long an unused one is kept.
    pub(crate) idle: Duration,
}

pub(crate) struct Pool {
    limits: PoolLimits,
    shelves: Box<[Mutex<Shelf>]>,
    open: Arc<Open>,
}

/// Counts what is open.
struct Open {
    count: AtomicUsize,
    /// One was closed, or put back.
    changed: Notify,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Shelf {
    /// The one that was used last comes last.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    is_swept: bool,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

/// An HTTP/2 connection, which many requests share.
struct Shared {
    sender: http2::SendRequest<Body>,
    streams: Arc<AtomicUsize>,
    since: Instant,
}

/// An open connection is counted, until this is dropped.
pub(crate) struct Slot(Arc<Open>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.tell();
    }
}

impl Open {
    fn tell(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.changed.notify_waiters();
        }
    }
}

/// A stream of an HTTP/2 connection, until this is dropped.
pub(crate) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection that is there already.
pub(crate) enum Kept {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>, Stream),
}

thread_local! {
    static SHELF: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        let shelves = (0..SHELVES).map(|_| Mutex::default()).collect();
        let open = Open {
            count: AtomicUsize::new(0),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
        };
        Self { limits, shelves, open: Arc::new(open) }
    }

    fn own() -> usize {
        SHELF.with(|own| own % SHELVES)
    }
    fn shelf(&self, at: usize) -> MutexGuard<'_, Shelf> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        self.shelves[at % SHELVES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can take a request now.
    pub(crate) fn take(&self, now: Instant) -> Option<Kept> {
        self.shelf(Self::own()).take(now)
    }
    /// As [`take`](Self::take), from other threads too.
    fn take_anywhere(&self, now: Instant) -> Option<Kept> {
        let own = Self::own();
        (own..own + SHELVES).find_map(|at| self.shelf(at).take(now))
    }

    /// The right to open one more connection; or, where that will do, one that came free meanwhile.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(crate) async fn slot(&self, now: Instant, or_kept: bool) -> Result<Slot, Kept> {
        loop {
            if let Some(slot) = self.try_slot() {
                return Ok(slot);
            }
            let waiting = Waiting::new(&self.open);
            let changed = self.open.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.take_anywhere(now) {
                Some(kept) if or_kept => return Err(kept),
                // One that lies idle makes room for a new one.
                kept => drop(kept),
            }
            if let Some(slot) = self.try_slot() {
                return Ok(slot);
            }
            changed.await;
            drop(waiting);
        }
    }
    /// Counts a connection that is open already.
    pub(crate) fn count(&self) -> Slot {
        self.open.count.fetch_add(1, Relaxed);
        Slot(Arc::clone(&self.open))
    }
    fn try_slot(&self) -> Option<Slot> {
        if self.open.count.fetch_add(1, Relaxed) < self.limits.connections {
            return Some(Slot(Arc::clone(&self.open)));
        }
        self.open.count.fetch_sub(1, Relaxed);
        None
    }

    /// Keeps a connection that has been used.
    pub(crate) fn keep(
        &self,
        server: &Arc<Server>,
        sender: http1::SendRequest<Body>,
        now: Instant,
    ) {
        if sender.is_closed() || server.is_gone() || self.limits.idle.is_zero() {
            return;
        }
        let own = Self::own();
        let mut place = self.shelf(own);
        place.idle.push(Idle { sender, since: now });
        let sweep = !std::mem::replace(&mut place.is_swept, true);
        drop(place);
        self.open.tell();
        if sweep {
            self.sweep(own, server);
        }
    }
    /// Shares a new HTTP/2 connection. Answers the first stream of it.
    pub(crate) fn share(
        &self,
        server: &Arc<Server>,
        sender: http2::SendRequest<Body>,
        now: Instant,
    ) -> Stream {
        let streams = Arc::new(AtomicUsize::new(1));
        let own = Self::own();
        let mut place = self.shelf(own);
        place.shared.push(Shared { sender, streams: Arc::clone(&streams), since: now });
        let sweep = !std::mem::replace(&mut place.is_swept, true);
        drop(place);
        if sweep {
            self.sweep(own, server);
        }
        Stream(streams)
    }

    /// Closes what has been idle for too long, until the shelf is empty.
    fn sweep(&self, at: usize, server: &Arc<Server>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (server, idle) = (Arc::downgrade(server), self.limits.idle);
        runtime.spawn(async move {
            let beat = (idle / 4).max(Duration::from_millis(10));
            while sweep_once(&server, at, idle) {
                tokio::time::sleep(beat).await;
            }
        });
    }

    /// Closes whatever is not in use.
    pub(crate) fn close_idle(&self) {
        for at in 0..SHELVES {
            let mut place = self.shelf(at);
            place.idle.clear();
            place.shared.clear();
        }
    }
    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.count.load(Relaxed)
    }
}

/// Whether there is something left to sweep.
fn sweep_once(server: &Weak<Server>, at: usize, idle: Duration) -> bool {
    let Some(server) = server.upgrade() else { return false };
    let now = tokio::time::Instant::now().into_std();
    let mut place = server.pool.shelf(at);
    let is_old = |since: Instant| now.saturating_duration_since(since) >= idle;
    place.idle.retain(|kept| !kept.sender.is_closed() && !is_old(kept.since));
    place.shared.retain(|kept| {
        let in_use = kept.streams.load(Relaxed) > 0;
        !kept.sender.is_closed() && (in_use || !is_old(kept.since))
    });
    let empty = place.idle.is_empty() && place.shared.is_empty();
    if empty {
        place.is_swept = false;
    }
    !empty
}

impl Shelf {
    fn take(&mut self, now: Instant) -> Option<Kept> {
        let mut at = self.idle.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            let kept = self.idle.get(at)?;
            if kept.sender.is_ready() {
                // Whatever was passed over is about to become ready, or to close.
                return Some(Kept::Http1(self.idle.remove(at).sender));
            }
            if kept.sender.is_closed() {
                self.idle.remove(at);
            }
        }
        if self.shared.is_empty() {
            return None;
        }
        self.shared.retain(|shared| !shared.sender.is_closed());
        let shared =
            self.shared.iter_mut().find(|shared| shared.streams.load(Relaxed) < STREAMS)?;
        shared.streams.fetch_add(1, Relaxed);
        shared.since = now;
        Some(Kept::Http2(shared.sender.clone(), Stream(Arc::clone(&shared.streams))))
    }
}

struct Waiting<'a>(&'a Open);

impl<'a> Waiting<'a> {
    fn new(open: &'a Open) -> Self {
        open.waiting.fetch_add(1, Relaxed);
        Self(open)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
