//! Requests for the same thing at the same time: one asks the origin, and the others wait for what comes.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::watch;

use crate::policy::Stored;
use crate::store::Mark;
use crate::stream::Stream;

/// Who asks the origin for what, at the moment.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Box<[u8]>, Under, RandomState>>);

struct Under {
    number: u64,
    phase: watch::Receiver<Phase>,
}

/// How far it is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The origin is asked.
    Asked,
    /// The head has come, and the body is coming.
    Arriving(Arriving),
    /// What is stored has been found good, or has been replaced: look again.
    Stored,
    /// The origin fails, and what is stored is served in its place where that is allowed.
    Failed,
    /// It cannot be shared: everybody asks for themselves.
    Unshared,
}

/// A response whose body is coming.
#[derive(Clone)]
pub(crate) struct Arriving {
    pub(crate) head: Arc<Stored>,
    pub(crate) body: Arc<Stream>,
    /// How far purges had got when it was asked for.
    pub(crate) mark: Option<Mark>,
}

/// What whoever comes does.
pub(crate) enum Joined {
    /// Nobody asks yet: ask.
    Lead(Lead),
    /// Somebody asks: wait. An error means that they went away.
    Wait(watch::Receiver<Phase>),
}

/// That one asks the origin for all. Dropping it lets another one ask.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    number: u64,
    phase: watch::Sender<Phase>,
}

impl Flights {
    /// Joins whoever asks for the same.
    pub(crate) fn join(self: &Arc<Self>, key: &[u8]) -> Joined {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under) = all.get(key) {
            return Joined::Wait(under.phase.clone());
        }
        Joined::Lead(self.begin(&mut all, key))
    }
    /// Asks for it, unless somebody does.
    pub(crate) fn lead(self: &Arc<Self>, key: &[u8]) -> Option<Lead> {
        match self.join(key) {
            Joined::Lead(lead) => Some(lead),
            Joined::Wait(_) => None,
        }
    }
    fn begin(
        self: &Arc<Self>,
        all: &mut HashMap<Box<[u8]>, Under, RandomState>,
        key: &[u8],
    ) -> Lead {
        let (phase, seen) = watch::channel(Phase::Asked);
        let number = all.get(key).map_or(0, |under| under.number + 1);
        all.insert(key.into(), Under { number, phase: seen });
        Lead { flights: Arc::clone(self), key: key.into(), number, phase }
    }
}

impl Lead {
    /// Tells those who wait.
    pub(crate) fn tell(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
    /// Tells those who wait that it is over.
    pub(crate) fn end(self, phase: Phase) {
        self.tell(phase);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut all = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&self.key).is_some_and(|under| under.number == self.number) {
            all.remove(&self.key);
        }
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("head", &self.head).finish_non_exhaustive()
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
