//! What the inner service has out, counted.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Cx, Poll, Waker};

/// What the inner service has out, and whether it is ready. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicUsize,
    at_work: AtomicBool,
    ready: AtomicUsize,
    futures: AtomicUsize,
    bodies: AtomicUsize,
    open: Mutex<Gate>,
}

/// Whether the inner service is ready, and who waits for it.
#[derive(Debug, Default)]
struct Gate {
    is_open: bool,
    waiting: Vec<Waker>,
}

/// What the inner service can have out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// An instance that is ready: it holds a reservation.
    Ready,
    /// A future.
    Future,
    /// A body.
    Body,
}

/// One thing that is out, until it is dropped.
#[derive(Debug)]
pub(super) struct Token {
    ledger: Ledger,
    what: Held,
}

impl Ledger {
    fn count(&self, what: Held) -> &AtomicUsize {
        match what {
            Held::Ready => &self.0.ready,
            Held::Future => &self.0.futures,
            Held::Body => &self.0.bodies,
        }
    }
    pub(super) fn take(&self, what: Held) -> Token {
        self.count(what).fetch_add(1, Ordering::SeqCst);
        Token { ledger: self.clone(), what }
    }
    pub(super) fn called(&self) {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
    }
    /// How often the inner service was called.
    pub(super) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }
    pub(super) fn works(&self) {
        self.0.at_work.store(true, Ordering::SeqCst);
    }
    /// Whether the inner future has been polled.
    pub(super) fn is_at_work(&self) -> bool {
        self.0.at_work.load(Ordering::SeqCst)
    }
    /// What is still out, in words.
    pub(super) fn left(&self) -> Option<&'static str> {
        let out = |what| self.count(what).load(Ordering::SeqCst) > 0;
        let words = [
            (Held::Ready, "an instance of the inner service that was polled ready is still alive"),
            (Held::Future, "the inner future is still alive"),
            (Held::Body, "the inner body is still alive"),
        ];
        words.into_iter().find(|(what, _)| out(*what)).map(|(_, words)| words)
    }

    pub(super) fn poll_open(&self, cx: &mut Cx<'_>) -> Poll<()> {
        let mut gate = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.is_open {
            return Poll::Ready(());
        }
        gate.waiting.push(cx.waker().clone());
        Poll::Pending
    }
    /// Makes the inner service ready, and wakes who waits for it.
    pub(super) fn open(&self) {
        let waiting = {
            let mut gate = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
            gate.is_open = true;
            std::mem::take(&mut gate.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.count(self.what).fetch_sub(1, Ordering::SeqCst);
    }
}
