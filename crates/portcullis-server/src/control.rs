//! From running to gone: what every part of a server listens to.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use tokio::sync::watch;

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Running,
    /// Every answer says goodbye; new connections are still taken, unless somebody else has the sockets.
    Lingering,
    /// Nothing new; what is idle closes, what runs may finish.
    Closing,
    /// Whatever is left is cut off.
    Killing,
    /// Nothing is left.
    Done,
}

/// Leads all parts of a server through its [`State`]s. They only go forward.
pub(crate) struct Control {
    state: watch::Sender<State>,
    sockets: watch::Sender<Sockets>,
    begun: watch::Sender<bool>,
    leaving: AtomicBool,
    accepting: AtomicUsize,
}

/// Who takes new connections, and with that whose the files of Unix sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// The process before this one does, where we have them from it.
    Borrowed,
    /// We do.
    Ours,
    /// We do to the end; a process that has them too goes on with them.
    Promised,
    /// A process that we handed the sockets to: it takes what is in the queue.
    HandedOver,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Lingering => "lingering",
            Self::Closing => "closing",
            Self::Killing => "killing",
            Self::Done => "done",
        }
    }
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Running),
            sockets: watch::Sender::new(Sockets::Ours),
            begun: watch::Sender::new(false),
            leaving: AtomicBool::new(false),
            accepting: AtomicUsize::new(0),
        }
    }
    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }
    /// Whether answers say goodbye. One load: it is asked for each of them.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }
    pub(crate) fn advance(&self, to: State) {
        self.state.send_if_modified(|state| {
            let forward = *state < to;
            if forward {
                self.leaving.store(true, Relaxed);
                *state = to;
            }
            forward
        });
    }
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
    /// Completes once the server is at least that far.
    pub(crate) async fn reached(&self, wanted: State) {
        // The sender lives as long as `self`.
        drop(self.subscribe().wait_for(|state| *state >= wanted).await);
    }
    /// Counts an accept loop, until what it answers is dropped: a server is not gone while one might still accept.
    pub(crate) fn accepts(self: &Arc<Self>) -> Accepts {
        self.accepting.fetch_add(1, SeqCst);
        Accepts(Arc::clone(self))
    }
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(SeqCst) > 0
    }
    /// Lets the accept loops begin.
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
    }
    /// Completes when connections are to be taken.
    pub(crate) async fn begins(&self) {
        drop(self.begun.subscribe().wait_for(|begun| *begun).await);
    }
    pub(crate) fn sockets(&self) -> Sockets {
        *self.sockets.borrow()
    }
    pub(crate) fn set_sockets(&self, sockets: Sockets) {
        self.sockets.send_replace(sockets);
    }
    pub(crate) fn has_handed_over(&self) -> bool {
        self.sockets() == Sockets::HandedOver
    }
    /// Completes when no new connection is to be taken any more: at `last`, or with the sockets.
    pub(crate) async fn stops_accepting(&self, last: State) {
        let mut sockets = self.sockets.subscribe();
        tokio::select! {
            () = self.reached(last) => {}
            _ = sockets.wait_for(|sockets| *sockets == Sockets::HandedOver) => {}
        }
    }
}

/// An accept loop that is counted.
pub(crate) struct Accepts(Arc<Control>);

impl Drop for Accepts {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, SeqCst);
    }
}
