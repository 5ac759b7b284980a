//! The connections of one runtime, and the sweeper that looks after them.
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{CoarseClock, Ticks};
use crate::control::{Control, State};
use crate::front::Shared;
use crate::limits::Limits;
use crate::vitals::{Orders, Vitals};

/// The connections of one runtime.
pub(crate) struct Registry {
    clock: Arc<CoarseClock>,
    ticks: Ticks,
    places: Mutex<Places>,
    /// Somebody came into an empty registry.
    occupied: Notify,
}

#[derive(Default)]
struct Places {
    all: Vec<Option<Arc<Vitals>>>,
    free: Vec<usize>,
}

impl Places {
    fn occupied(&self) -> usize {
        self.all.len() - self.free.len()
    }
}

/// A place in the registry, given back when it is dropped.
pub(crate) struct Enrolled {
    vitals: Arc<Vitals>,
    registry: Arc<Registry>,
    place: usize,
}

impl Enrolled {
    pub(crate) fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut places = self.registry.lock();
        if let Some(place) = places.all.get_mut(self.place) {
            *place = None;
            places.free.push(self.place);
        }
    }
}

impl Registry {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(CoarseClock::new()),
            ticks: Ticks::of(limits),
            places: Mutex::default(),
            occupied: Notify::new(),
        })
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection.
    pub(crate) fn enrol(self: &Arc<Self>, shared: &Arc<Shared>) -> Enrolled {
        // The sweeper sleeps while there is nobody, and the clock with it.
        self.clock.refresh();
        let vitals = Arc::new(Vitals::new(Arc::clone(shared), Arc::clone(&self.clock)));
        let mut places = self.lock();
        if places.occupied() == 0 {
            self.occupied.notify_one();
        }
        let place = places.free.pop().unwrap_or_else(|| {
            places.all.push(None);
            places.all.len() - 1
        });
        if let Some(slot) = places.all.get_mut(place) {
            *slot = Some(Arc::clone(&vitals));
        }
        Enrolled { vitals, registry: Arc::clone(self), place }
    }

    /// The connection that has been idle for longest, and for how many ticks.
    pub(crate) fn longest_idle(&self) -> Option<(u32, Arc<Vitals>)> {
        let now = self.clock.refresh();
        let places = self.lock();
        let all = places.all.iter().flatten();
        all.filter(|vitals| !vitals.is_shed())
            .filter_map(|vitals| Some((vitals.idle_for(now)?, vitals)))
            .max_by_key(|(idle, _)| *idle)
            .map(|(idle, vitals)| (idle, Arc::clone(vitals)))
    }

    /// Looks after the connections until the server is done.
    pub(crate) async fn sweep(self: Arc<Self>, control: Arc<Control>) {
        let mut state = control.subscribe();
        let mut beat = interval(CoarseClock::TICK);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = self.clock.refresh();
            let empty = {
                let places = self.lock();
                let current = *state.borrow();
                for vitals in places.all.iter().flatten() {
                    vitals.sweep(now, &self.ticks);
                    match current {
                        State::Running => {}
                        State::Lingering => vitals.drain(),
                        State::Closing => {
                            vitals.drain();
                            vitals.close_if_idle(now);
                        }
                        State::Killing | State::Done => vitals.order(Orders::KILL),
                    }
                }
                places.occupied() == 0
            };
            tokio::select! {
                _ = beat.tick(), if !empty => {}
                () = self.occupied.notified(), if empty => {}
                // It changes a few times in all, and the sender lives as long as `control`.
                _ = state.changed() => {}
            }
        }
    }
}
