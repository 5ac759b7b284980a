//! The drain, from its trigger to its end.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Readiness;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::caps::Caps;
use crate::control::{Control, State};
use crate::limits::Limits;
use crate::stats::{Ending, Stats};

/// How often it is looked whether connections are left.
const LOOK: Duration = Duration::from_millis(20);
/// How often is said what a drain waits for.
const REPORT: Duration = Duration::from_secs(5);
/// How long connections have to end once they are told to.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What begins a drain.
pub(crate) struct Triggers {
    pub(crate) signals: bool,
    pub(crate) other: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Leads a server from running to gone.
pub(crate) struct Conductor {
    pub(crate) control: Arc<Control>,
    pub(crate) caps: Arc<Caps>,
    /// Of the listeners for operators, which are there to the end.
    pub(crate) sides: Arc<Caps>,
    pub(crate) limits: Limits,
    pub(crate) readiness: Option<Readiness>,
    pub(crate) stats: Stats,
}

impl Conductor {
    pub(crate) async fn conduct(self, triggers: Triggers) {
        let mut signals = Signals::listen(triggers.signals);
        let other = async {
            match triggers.other {
                Some(other) => other.await,
                None => std::future::pending().await,
            }
        };
        let (hurried, mut signalled) = tokio::select! {
            interrupted = signals.next() => (interrupted, true),
            () = other => (false, false),
            () = self.control.reached(State::Lingering) => (false, false),
        };
        let until = Instant::now() + self.limits.drain;
        self.control.advance(State::Lingering);
        if let Some(readiness) = &self.readiness
            && !self.control.has_handed_over()
        {
            readiness.drain();
        }
        tracing::info!(connections = self.caps.open(), "draining");
        tokio::select! {
            () = self.finish(hurried, until) => {}
            () = signals.second(&mut signalled) => tracing::warn!("a second signal: closing at once"),
            () = self.control.reached(State::Killing) => {}
        }
        let left = self.caps.open();
        if left > 0 {
            tracing::warn!(connections = left, "cutting off what still runs");
            self.stats.ended_many(Ending::DrainTime, left);
        }
        self.control.advance(State::Killing);
        tokio::select! {
            () = self.empty(|| self.caps.open() + self.sides.open()) => {}
            () = sleep(LAST_WORDS) => {}
        }
        self.control.advance(State::Done);
    }

    /// Waits until everything that runs is done, or the time is over.
    async fn finish(&self, hurried: bool, until: Instant) {
        if !hurried {
            let linger = (Instant::now() + self.limits.linger).min(until);
            tokio::select! {
                () = sleep_until(linger) => {}
                () = self.gone_elsewhere() => {}
            }
        }
        self.control.advance(State::Closing);
        tokio::select! {
            () = self.empty(|| self.caps.open()) => {}
            () = self.report(until) => {}
            () = sleep_until(until) => {}
        }
    }
    /// Says from time to time what the drain waits for.
    async fn report(&self, until: Instant) {
        loop {
            sleep(REPORT).await;
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            let connections = self.caps.open();
            tracing::info!(connections, "draining: what still runs has {left} s left");
        }
    }
    /// Nobody is connected, and nobody will be: another process has the sockets.
    async fn gone_elsewhere(&self) {
        while !self.control.has_handed_over() {
            sleep(LOOK).await;
        }
        self.empty(|| self.caps.open()).await;
    }
    /// Nobody is connected, and no accept loop is left that might still take somebody in: it may not have noticed yet.
    async fn empty(&self, connected: impl Fn() -> usize) {
        // The loops first: what the last of them took in has been counted before it ended.
        while self.control.is_accepting() || connected() > 0 {
            sleep(LOOK).await;
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn listen(wanted: bool) -> Self {
        if !wanted {
            return Self(None);
        }
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        if let Err(error) = &both {
            tracing::error!(error = %error, "cannot listen to signals");
        }
        Self(both.ok())
    }
    /// Completes with the second signal in all. A drain may have begun by another way, as when the sockets were handed over; the
    /// first signal is then the service manager's, which knows nothing of it.
    async fn second(&mut self, signalled: &mut bool) {
        if !std::mem::replace(signalled, true) {
            self.next().await;
        }
        self.next().await;
    }
    /// Whether the next signal came from a terminal, where somebody waits.
    async fn next(&mut self) -> bool {
        match &mut self.0 {
            None => std::future::pending().await,
            Some((terminate, interrupt)) => tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
            },
        }
    }
}
