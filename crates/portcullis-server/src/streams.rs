//! HTTP/2 streams: each is a task, which ends when its client does not take the answer.
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;
use crate::stats::{Ending, Stats};
use crate::vitals::{Vitals, is_too_slow};

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
                let patience = Patience {
                    idle: self.write_idle,
                    byte_rate: self.byte_rate,
                    waited: Duration::ZERO,
                    since: None,
                    timer: None,
                };
                drop(tokio::spawn(Watched { work, state, patience, stats: self.stats.clone() }));
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
        patience: Patience,
        stats: Stats,
    }
}

/// How long the client has not taken what is ready for it.
struct Patience {
    idle: Duration,
    byte_rate: u32,
    waited: Duration,
    since: Option<(Instant, u64)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let this = self.project();
        if this.work.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.state.has_data.load(Relaxed) {
            this.patience.relieved();
            return Poll::Pending;
        }
        if this.patience.poll_wait(cx, this.state.sent.load(Relaxed)).is_ready() {
            // Dropping the work resets the stream.
            this.stats.ended(Ending::WriteTime);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Patience {
    fn relieved(&mut self) {
        if let Some((since, _)) = self.since.take() {
            self.waited += since.elapsed();
        }
    }
    fn poll_wait(&mut self, cx: &mut Cx<'_>, sent: u64) -> Poll<()> {
        let now = Instant::now();
        if self.since.is_some_and(|(_, then)| then != sent) {
            self.relieved();
        }
        let (since, _) = *self.since.get_or_insert((now, sent));
        let waited = self.waited + (now - since);
        if now >= since + self.idle
            || (waited >= self.idle && is_too_slow(sent, waited, self.byte_rate))
        {
            return Poll::Ready(());
        }
        let until = since + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}
