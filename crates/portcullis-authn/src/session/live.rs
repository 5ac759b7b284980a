//! Sessions that somebody is being served for.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_core::Revocation;

use super::record::SessionDigest;

/// The signals by which what is under way for a session ends with it.
#[derive(Default)]
pub(super) struct Live(Mutex<Signals>);

#[derive(Default)]
struct Signals {
    signals: HashMap<SessionDigest, Revocation>,
    /// How many there may be before somebody looks for those that nobody holds.
    prune_at: usize,
}

/// Below this nobody looks.
const FEW: usize = 1_000;

impl Live {
    fn lock(&self) -> MutexGuard<'_, Signals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The signal of a session.
    pub(super) fn of(&self, session: SessionDigest) -> Revocation {
        let mut live = self.lock();
        if live.signals.len() >= live.prune_at.max(FEW) {
            live.signals.retain(|_, signal| signal.is_shared());
            live.prune_at = live.signals.len() * 2;
        }
        live.signals.entry(session).or_default().clone()
    }
    /// Ends what is under way for a session.
    pub(super) fn end(&self, session: &SessionDigest) {
        let signal = self.lock().signals.remove(session);
        if let Some(signal) = signal {
            signal.revoke();
        }
    }
    /// For which sessions something may be under way.
    pub(super) fn all(&self) -> Vec<SessionDigest> {
        let live = self.lock();
        let held = live.signals.iter().filter(|(_, signal)| signal.is_shared());
        held.map(|(session, _)| *session).collect()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}
