//! HTTP/2 streams: each is a task, which ends when its client does not take the answer.
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use crate::limits::Limits;
use crate::pace::Pace;
use crate::stats::{Ending, Stats};
use crate::vitals::Vitals;
use pin_project_lite::pin_project;

/// What is known about one stream.
pub(crate) struct StreamState {
    vitals: Arc<Vitals>,
    /// The body last gave data, so whoever writes it waits for the client if it waits at all.
    has_data: AtomicBool,
    sent: AtomicU64,
}

impl StreamState {
    pub(crate) fn begin(vitals: &Arc<Vitals>) -> Arc<Self> {
        vitals.begin_stream();
        Arc::new(Self {
            vitals: Arc::clone(vitals),
            has_data: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        })
    }
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.vitals
    }
    /// The body gave so many bytes, or none.
    pub(crate) fn polled(&self, bytes: Option<usize>) {
        self.has_data.store(bytes.is_some(), Relaxed);
        if let Some(bytes) = bytes {
            self.sent.fetch_add(bytes as u64, Relaxed);
        }
    }
}

impl Drop for StreamState {
    fn drop(&mut self) {
        self.vitals.end_stream();
    }
}

/// Spawns the streams of one connection. Hyper calls the service and then spawns the stream, one after the other, so the
/// service leaves the stream's state here.
#[derive(Clone)]
pub(crate) struct Streams {
    next: Arc<Mutex<Option<Arc<StreamState>>>>,
    write_idle: Duration,
    byte_rate: u32,
    stats: Stats,
}

impl Streams {
    pub(crate) fn new(limits: &Limits, stats: Stats) -> Self {
        Self {
            next: Arc::default(),
            write_idle: limits.write_idle,
            byte_rate: limits.byte_rate,
            stats,
        }
    }
    pub(crate) fn expect(&self, stream: &Arc<StreamState>) {
        *self.lock() = Some(Arc::clone(stream));
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<StreamState>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        match self.lock().take() {
            Some(state) => {
                let pace = Pace::new(self.write_idle, self.byte_rate);
                let counted = self.stats.clone();
                drop(tokio::spawn(Watched { work, state, pace, sent: 0, stats: counted }));
            }
            None => drop(tokio::spawn(work)),
        }
    }
}

pin_project! {
    /// The work of one stream, until it is done or the client has kept it waiting for too long.
    struct Watched<F> {
        #[pin]
        work: F,
        state: Arc<StreamState>,
        pace: Pace,
        sent: u64,
        stats: Stats,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let this = self.project();
        if this.work.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let sent = this.state.sent.load(Relaxed);
        let waits = this.state.has_data.load(Relaxed);
        if !waits || std::mem::replace(this.sent, sent) != sent {
            this.pace.moved(sent);
        }
        if waits && this.pace.poll_wait(cx, sent).is_ready() {
            // Dropping the work resets the stream.
            this.stats.ended(Ending::WriteTime);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
