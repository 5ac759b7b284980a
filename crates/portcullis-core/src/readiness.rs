//! Whether this process may get traffic.
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many missing conditions are listed by their names.
const MAX_LISTED: usize = 16;
/// How many characters of a name are kept.
const MAX_NAME: usize = 64;

/// Whether this process may get traffic: every condition that was declared is met, and it is not about to stop.
///
/// Cheap to clone; all clones say the same. Declare what a process waits for before its server listens: without any
/// condition it is ready at once. What tells a load balancer is `Operations` of `portcullis-telemetry`, at `/readyz`.
///
/// ```
/// use portcullis_core::Readiness;
/// let readiness = Readiness::new();
/// let keys = readiness.expect("keys");
/// assert!(!readiness.is_ready());
/// keys.ready();
/// assert!(readiness.is_ready());
/// keys.not_ready("https://id.example answers 503");
/// assert_eq!(readiness.state().to_string(), "not ready: keys");
/// ```
#[derive(Clone, Default)]
pub struct Readiness(Arc<Shared>);

#[derive(Default)]
struct Shared {
    draining: AtomicBool,
    /// How many of the conditions are not met, so that asking takes no lock.
    unmet: AtomicUsize,
    conditions: Mutex<Conditions>,
}

#[derive(Default)]
struct Conditions {
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    /// Which [`ReadinessCondition`] may change it; none where that was given up.
    owner: Option<u64>,
    name: Cow<'static, str>,
    /// Why it is not met; none where it is.
    missing: Option<Cow<'static, str>>,
}

impl Readiness {
    /// No conditions yet: ready.
    pub fn new() -> Self {
        Self::default()
    }
    /// Declares a condition, which is not met until its [`ReadinessCondition`] says so. The name, of which 64 characters are kept, is
    /// shown to whoever may ask whether the process is ready.
    ///
    /// A condition of this name that was given up without being met is taken over.
    #[must_use = "a condition that is dropped is never met"]
    pub fn expect(&self, name: impl Into<Cow<'static, str>>) -> ReadinessCondition {
        let name = short(name.into());
        let mut conditions = self.0.lock();
        conditions.next += 1;
        let id = conditions.next;
        let given_up = |entry: &&mut Entry| entry.owner.is_none() && entry.name == name;
        if let Some(entry) = conditions.entries.iter_mut().find(given_up) {
            entry.owner = Some(id);
        } else {
            let missing = Some("nobody has said that it is met".into());
            conditions.entries.push(Entry { owner: Some(id), name, missing });
        }
        self.0.count(&conditions);
        drop(conditions);
        ReadinessCondition { readiness: self.clone(), id }
    }
    /// Says that the process is about to stop: from now on it is not ready, whatever the conditions say.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }
    /// Whether the process may get traffic.
    pub fn is_ready(&self) -> bool {
        self.0.unmet.load(Ordering::Acquire) == 0 && !self.0.draining.load(Ordering::Acquire)
    }
    /// Whether the process may get traffic, and what is missing.
    pub fn state(&self) -> ReadinessState {
        let conditions = self.0.lock();
        let unmet = conditions.entries.iter().filter(|entry| entry.missing.is_some());
        let mut names: Vec<_> = unmet.map(|entry| entry.name.clone()).collect();
        let unlisted = names.len().saturating_sub(MAX_LISTED);
        names.truncate(MAX_LISTED);
        ReadinessState { draining: self.0.draining.load(Ordering::Acquire), names, unlisted }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Changes what a condition owns.
    fn edit(&self, id: u64, edit: impl FnOnce(&mut Entry)) {
        let mut conditions = self.lock();
        let owned = |entry: &&mut Entry| entry.owner == Some(id);
        if let Some(entry) = conditions.entries.iter_mut().find(owned) {
            edit(entry);
        }
        // What is met and can change no more is no condition any more.
        conditions.entries.retain(|entry| entry.owner.is_some() || entry.missing.is_some());
        self.count(&conditions);
    }
    fn count(&self, conditions: &Conditions) {
        let unmet = conditions.entries.iter().filter(|entry| entry.missing.is_some()).count();
        self.unmet.store(unmet, Ordering::Release);
    }
}

/// One thing that a process waits for before it may get traffic, and may lose again. Made by [`Readiness::expect`].
///
/// Dropping it leaves things as they are: what was met stays so, and what was not is never met, unless somebody expects
/// it anew.
#[derive(Debug)]
pub struct ReadinessCondition {
    readiness: Readiness,
    id: u64,
}

impl ReadinessCondition {
    /// It is met.
    pub fn ready(&self) {
        self.readiness.0.edit(self.id, |entry| entry.missing = None);
    }
    /// It is not met, or not any more. The reason stands in what is shown of [`Readiness`] for the log, and nowhere else.
    pub fn not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.readiness.0.edit(self.id, |entry| entry.missing = Some(reason));
    }
}

impl Drop for ReadinessCondition {
    fn drop(&mut self) {
        self.readiness.0.edit(self.id, |entry| entry.owner = None);
    }
}

/// Whether a process may get traffic, and what is missing, by name. What is shown of it has no secrets and a bounded size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessState {
    draining: bool,
    names: Vec<Cow<'static, str>>,
    unlisted: usize,
}

impl ReadinessState {
    /// Whether the process may get traffic.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.names.is_empty()
    }
    /// Whether the process is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
    /// The names of the conditions that are not met, in the order in which they were declared; at most 16.
    pub fn missing(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
    /// How many more are not met.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

impl fmt::Display for ReadinessState {
    /// `ready`, or `not ready: keys, database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ready() {
            return f.write_str("ready");
        }
        let draining = self.draining.then_some("draining");
        let names: Vec<_> = draining.into_iter().chain(self.missing()).collect();
        write!(f, "not ready: {}", names.join(", "))?;
        if self.unlisted > 0 {
            write!(f, " and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Readiness {
    /// With the reasons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = self.0.lock();
        let reasons = conditions
            .entries
            .iter()
            .filter_map(|entry| Some((&*entry.name, entry.missing.as_deref()?)));
        let missing: Vec<_> = reasons.collect();
        f.debug_struct("Readiness")
            .field("draining", &self.0.draining)
            .field("missing", &missing)
            .finish()
    }
}

/// The name, cut where it is too long to be shown.
fn short(name: Cow<'static, str>) -> Cow<'static, str> {
    if name.chars().nth(MAX_NAME).is_none() {
        return name;
    }
    name.chars().take(MAX_NAME).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(readiness: &Readiness, want: &str, name: &str) {
        let state = readiness.state();
        assert_eq!(state.to_string(), want, "{name}");
        assert_eq!(readiness.is_ready(), want == "ready", "{name}");
        assert_eq!(state.is_ready(), want == "ready", "{name}");
    }

    #[test]
    fn it_is_ready_when_every_condition_is_met_and_only_then() {
        let readiness = Readiness::new();
        check(&readiness, "ready", "nothing declared");
        let keys = readiness.expect("keys");
        let clone = readiness.clone();
        let database = clone.expect("database".to_owned());
        check(&readiness, "not ready: keys, database", "declared");
        keys.ready();
        keys.ready();
        check(&readiness, "not ready: database", "one met, twice");
        database.ready();
        check(&readiness, "ready", "both met");
        keys.not_ready("the issuer answers 503");
        keys.not_ready("the issuer answers 504");
        check(&readiness, "not ready: keys", "one lost");
        let shown = format!("{readiness:?}");
        assert!(shown.contains("504") && !shown.contains("503"), "{shown}");
        assert!(!format!("{:?}", readiness.state()).contains("504"));
        keys.ready();
        check(&readiness, "ready", "found again");
    }

    #[test]
    fn a_condition_that_is_dropped_leaves_things_as_they_are() {
        let readiness = Readiness::new();
        let (met, unmet) = (readiness.expect("met"), readiness.expect("unmet"));
        met.ready();
        drop((met, unmet));
        check(&readiness, "not ready: unmet", "given up");
        // Another of the name, while the first is waited for, is one of its own.
        let again = readiness.expect("unmet");
        let twin = readiness.expect("unmet");
        check(&readiness, "not ready: unmet, unmet", "taken over, and a twin");
        again.ready();
        check(&readiness, "not ready: unmet", "the twin");
        twin.ready();
        check(&readiness, "ready", "both");
        drop(again);
        twin.not_ready("lost");
        check(&readiness, "not ready: unmet", "the twin is still there");
    }

    #[test]
    fn conditions_that_come_and_go_leave_nothing_behind() {
        let readiness = Readiness::new();
        for round in 0..1_000 {
            let met = readiness.expect(format!("met {round}"));
            met.ready();
            drop(met);
            drop(readiness.expect("unmet"));
        }
        assert_eq!(readiness.0.lock().entries.len(), 1);
        check(&readiness, "not ready: unmet", "one is left");
    }

    #[test]
    fn a_process_that_drains_is_not_ready_whatever_the_conditions_say() {
        let readiness = Readiness::new();
        let keys = readiness.expect("keys");
        let clone = readiness.clone();
        clone.drain();
        check(&readiness, "not ready: draining, keys", "both");
        keys.ready();
        check(&readiness, "not ready: draining", "met");
        assert!(readiness.state().is_draining());
    }

    #[test]
    fn what_is_shown_has_a_bounded_size() {
        let readiness = Readiness::new();
        let long = "\u{e9}".repeat(MAX_NAME + 1);
        let all: Vec<_> = (0..20).map(|_| readiness.expect(long.clone())).collect();
        let state = readiness.state();
        assert_eq!((state.missing().len(), state.unlisted()), (16, 4));
        assert!(state.missing().all(|name| name.chars().count() == MAX_NAME));
        assert!(state.to_string().ends_with("\u{e9} and 4 more"), "{state}");
        all.iter().for_each(ReadinessCondition::ready);
        check(&readiness, "ready", "all met");
        let exact = "x".repeat(MAX_NAME);
        let _kept = readiness.expect(exact.clone());
        check(&readiness, &format!("not ready: {exact}"), "just short enough");
    }
}
