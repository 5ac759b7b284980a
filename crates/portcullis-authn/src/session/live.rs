//! Sessions that somebody is being served for.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_core::Revocation;

use super::record::SessionDigest;

/// The signals by which what is under way for a session ends with it.
#[derive(Default)]
pub(super) struct Live(Mutex<Known>);

#[derive(Default)]
struct Known {
    signals: HashMap<SessionDigest, Revocation>,
    /// How many there may be before somebody looks for those that nobody holds.
    prune_at: usize,
    /// Names that sessions had a moment ago.
    renamed: HashMap<SessionDigest, SystemTime>,
}

/// Below this nobody looks.
const FEW: usize = 1_000;
/// How late a request may come that was sent before its session had another name, and how many such names are known.
const LATE: Duration = Duration::from_secs(60);
const MOST_RENAMED: usize = 10_000;

impl Live {
    fn lock(&self) -> MutexGuard<'_, Known> {
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
    /// It turns out that there is no such session.
    pub(super) fn forget(&self, session: &SessionDigest, signal: Revocation) {
        let mut live = self.lock();
        drop(signal);
        if live.signals.get(session).is_some_and(|signal| !signal.is_shared()) {
            live.signals.remove(session);
        }
    }
    /// Ends what is under way for a session.
    pub(super) fn end(&self, session: &SessionDigest) {
        let signal = self.lock().signals.remove(session);
        if let Some(signal) = signal {
            signal.revoke();
        }
    }
    /// A session has another name from now on; what is under way for it goes on. The old name may come for a while, from requests that were sent before.
    pub(super) fn rename(&self, old: &SessionDigest, new: SessionDigest, now: SystemTime) {
        let mut live = self.lock();
        if let Some(signal) = live.signals.remove(old) {
            live.signals.insert(new, signal);
        }
        live.renamed.retain(|_, at| now.duration_since(*at).is_ok_and(|age| age < LATE));
        if live.renamed.len() < MOST_RENAMED {
            live.renamed.insert(*old, now);
        }
    }
    /// Whether this was the name of a session a moment ago.
    pub(super) fn was_renamed(&self, session: &SessionDigest, now: SystemTime) -> bool {
        let live = self.lock();
        let at = live.renamed.get(session);
        at.is_some_and(|at| now.duration_since(*at).is_ok_and(|age| age < LATE))
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
