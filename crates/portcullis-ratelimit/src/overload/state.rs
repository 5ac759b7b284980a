//! What all clones share: how many are under way, who waits, and how many may be.
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use portcullis_core::{Clock, Context};
use tokio::sync::oneshot;

use super::concurrency::Concurrency;
use super::priority::{LEVELS, Priority, Shares};
use super::queue::{Lines, Next, Place, Queue};
use super::reason::Reason;
use super::sizing::Sizing;
use crate::under_way::UnderWay;

/// For how long a tenant that found no room counts as one that wants some.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What all clones of a layer share.
#[derive(Debug)]
pub(super) struct State {
    /// How many are under way. Changed and read in one order with `waiting`: whoever lets go sees whoever began to wait
    /// before, or that one sees the room.
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    /// How many may be under way for each priority, by rank.
    rooms: [AtomicUsize; LEVELS],
    /// How many wait, by rank. Changed under the lock of `lines`.
    waiting: [AtomicUsize; LEVELS],
    sizing: Mutex<Sizing>,
    lines: Mutex<Lines<Waiter>>,
    tenants: UnderWay,
    addresses: UnderWay,
    /// Times are counted from the first refusal.
    epoch: OnceLock<Instant>,
    /// Until when somebody else wants room beside a tenant that has it all, in nanoseconds after the epoch.
    wanted_until: AtomicU64,
    pub(super) admitted: AtomicU64,
    pub(super) shed: [AtomicU64; Reason::ALL.len()],
}

/// Somebody who waits, as the queue has it.
#[derive(Debug)]
pub(super) struct Waiter {
    clock: Clock,
    tenant: Option<u128>,
    address: Option<AddressHold>,
    answer: oneshot::Sender<Result<Permit, Reason>>,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) context: &'a Context,
    pub(super) priority: Priority,
    /// Whose share it is, where shares are looked at.
    pub(super) tenant: Option<u128>,
    /// Its address, and how many of one may be under way.
    pub(super) address: Option<(u128, usize)>,
    /// How long it may wait for room, where it may.
    pub(super) at_most: Option<Duration>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Admission {
    Admitted(Permit),
    Waits(Ticket),
    Shed(Reason),
}

/// A request under way. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Permit {
    state: Arc<State>,
    tenant: Option<u128>,
    _address: Option<AddressHold>,
}

/// One request of an address, under way or waiting.
#[derive(Debug)]
struct AddressHold {
    state: Arc<State>,
    address: u128,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Ticket {
    state: Arc<State>,
    place: Place,
    id: u64,
    pub(super) longest: Duration,
    pub(super) answer: oneshot::Receiver<Result<Permit, Reason>>,
}

impl State {
    pub(super) fn new(limit: &Concurrency, shares: Shares, queue: Option<Queue>) -> Self {
        let sizing = Sizing::new(limit, shares);
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(sizing.limit()),
            rooms: sizing.rooms().map(AtomicUsize::new),
            waiting: Default::default(),
            sizing: Mutex::new(sizing),
            lines: Mutex::new(Lines::new(queue.unwrap_or_else(|| Queue::new(1)))),
            tenants: UnderWay::default(),
            addresses: UnderWay::default(),
            epoch: OnceLock::new(),
            wanted_until: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            shed: Default::default(),
        }
    }

    /// Goes on with other settings. What is under way, who waits and what was learned stay.
    pub(super) fn adopt(
        self: &Arc<Self>,
        limit: &Concurrency,
        shares: Shares,
        queue: Option<Queue>,
    ) {
        let mut sizing = locked(&self.sizing);
        sizing.adopt(limit, shares);
        self.publish_limit(&sizing);
        drop(sizing);
        if let Some(queue) = queue {
            locked(&self.lines).adopt(queue);
        }
        self.serve_waiting();
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(|count| count.load(SeqCst)).sum()
    }
    /// How many tenants and addresses are counted.
    pub(super) fn keys(&self) -> usize {
        self.tenants.keys() + self.addresses.keys()
    }
    pub(super) fn count_admitted(&self) {
        self.admitted.fetch_add(1, Relaxed);
    }
    pub(super) fn count_shed(&self, reason: Reason) {
        if let Some(count) = self.shed.get(reason as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Lets a request go on, wait, or go away.
    pub(super) fn admit(self: &Arc<Self>, ask: &Ask<'_>) -> Admission {
        let address = match self.hold_address(ask.address) {
            Ok(address) => address,
            Err(reason) => return Admission::Shed(reason),
        };
        let outranked = self.waiting.iter().take(ask.priority.rank() + 1);
        let is_first = outranked.map(|count| count.load(SeqCst)).sum::<usize>() == 0;
        let found = if is_first { self.enter(ask) } else { Err(Reason::Full) };
        match found {
            Ok(()) => Admission::Admitted(self.permit(ask.tenant, address)),
            Err(reason) => match ask.at_most {
                Some(at_most) => self.wait(ask, at_most, address),
                None => Admission::Shed(reason),
            },
        }
    }

    fn hold_address(
        self: &Arc<Self>,
        address: Option<(u128, usize)>,
    ) -> Result<Option<AddressHold>, Reason> {
        let Some((address, most)) = address else { return Ok(None) };
        self.addresses.add(address, most).ok_or(Reason::Address)?;
        Ok(Some(AddressHold { state: Arc::clone(self), address }))
    }

    fn permit(self: &Arc<Self>, tenant: Option<u128>, address: Option<AddressHold>) -> Permit {
        Permit { state: Arc::clone(self), tenant, _address: address }
    }

    /// Takes room, if there is some.
    fn enter(&self, ask: &Ask<'_>) -> Result<(), Reason> {
        let room = self.room(ask.priority);
        let Some(tenant) = ask.tenant else {
            return if self.occupy(room) { Ok(()) } else { Err(self.why(room)) };
        };
        let own = self.tenants.add(tenant, usize::MAX).unwrap_or(usize::MAX);
        // Where nobody can wait, some room is kept for those who have less than their share: what comes by chance varies
        // by about the root of how much it is.
        let over = ask.at_most.is_none() && self.is_over_share(own, room, ask.context);
        let most = if over { (room - room.isqrt()).max(1) } else { room };
        if self.occupy(most) {
            return Ok(());
        }
        let is_alone = self.tenants.keys() == 1;
        self.tenants.remove(tenant);
        if !over && !is_alone {
            self.want(ask.context);
        }
        Err(if over && self.in_flight() < room { Reason::Fairness } else { self.why(room) })
    }

    fn room(&self, priority: Priority) -> usize {
        self.rooms.get(priority.rank()).map_or(1, |room| room.load(Relaxed))
    }
    /// Counts one more, unless `most` are under way.
    fn occupy(&self, most: usize) -> bool {
        let more = |count: usize| (count < most).then_some(count + 1);
        self.in_flight.fetch_update(SeqCst, SeqCst, more).is_ok()
    }
    /// Why there was no room.
    fn why(&self, room: usize) -> Reason {
        if room < self.limit() { Reason::Priority } else { Reason::Full }
    }

    /// Whether a tenant that has `own` under way has more than its share: its part of the room, among those who have
    /// something under way or lately found no room, and at least one.
    fn is_over_share(&self, own: usize, room: usize, context: &Context) -> bool {
        let active = self.tenants.keys().max(1);
        if active == 1 && (own * 2 <= room || !self.is_wanted(context)) {
            return false;
        }
        own > (room / active.max(2)).max(1)
    }
    fn want(&self, context: &Context) {
        let until = self.since_epoch(context).saturating_add(REMEMBERED);
        self.wanted_until.fetch_max(nanos(until), Relaxed);
    }
    fn is_wanted(&self, context: &Context) -> bool {
        nanos(self.since_epoch(context)) < self.wanted_until.load(Relaxed)
    }
    fn since_epoch(&self, context: &Context) -> Duration {
        let now = context.clock().now();
        now.saturating_duration_since(*self.epoch.get_or_init(|| now))
    }

    fn wait(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        at_most: Duration,
        address: Option<AddressHold>,
    ) -> Admission {
        let clock = ask.context.clock();
        let now = clock.now();
        let left = ask.context.deadline().remaining(now);
        let longest = left.map_or(at_most, |left| left.min(at_most));
        if longest.is_zero() {
            return Admission::Shed(Reason::Deadline);
        }
        let place = Place { priority: ask.priority, tenant: ask.tenant.unwrap_or_default() };
        let mut receiver = None;
        let make = || {
            let (answer, receive) = oneshot::channel();
            receiver = Some(receive);
            Waiter { clock: clock.clone(), tenant: ask.tenant, address, answer }
        };
        let pushed = {
            let mut lines = locked(&self.lines);
            let pushed = lines.push(place, now, longest, make);
            self.publish_waiting(&lines);
            pushed
        };
        let (id, evicted) = match pushed {
            Ok(pushed) => pushed,
            Err(reason) => return Admission::Shed(reason),
        };
        // Not under the lock: whoever is woken may look at the queue at once.
        if let Some((waiter, reason)) = evicted {
            let _ = waiter.answer.send(Err(reason));
        }
        let Some(answer) = receiver else { return Admission::Shed(Reason::QueueFull) };
        let ticket = Ticket { state: Arc::clone(self), place, id, longest, answer };
        // What was let go meanwhile.
        self.serve_waiting();
        Admission::Waits(ticket)
    }

    /// Hands the room that there is to those who wait, one after the other.
    fn serve_waiting(self: &Arc<Self>) {
        while self.waiting() > 0 {
            let Some((waiter, verdict)) = self.next() else { break };
            // A permit for somebody who has just gone comes back here, and lets itself go.
            let _ = waiter.send(verdict);
        }
    }

    #[expect(clippy::type_complexity, reason = "the two halves of one answer")]
    fn next(
        self: &Arc<Self>,
    ) -> Option<(oneshot::Sender<Result<Permit, Reason>>, Result<Permit, Reason>)> {
        let mut lines = locked(&self.lines);
        let priority = lines.first()?;
        let room = self.room(priority);
        if !self.occupy(room) {
            return None;
        }
        let share = (room / self.tenants.keys().max(1)).max(1);
        let has_less = |tenant| self.tenants.get(tenant) < share;
        let next = lines.take(priority, |waiter| waiter.clock.now(), has_less);
        self.publish_waiting(&lines);
        drop(lines);
        match next {
            Some(Next::Serve(waiter)) => {
                if let Some(tenant) = waiter.tenant {
                    self.tenants.add(tenant, usize::MAX);
                }
                Some((waiter.answer, Ok(self.permit(waiter.tenant, waiter.address))))
            }
            Some(Next::Drop(waiter)) => {
                self.in_flight.fetch_sub(1, SeqCst);
                Some((waiter.answer, Err(Reason::Codel)))
            }
            None => {
                self.in_flight.fetch_sub(1, SeqCst);
                None
            }
        }
    }

    fn publish_waiting(&self, lines: &Lines<Waiter>) {
        for (shown, count) in self.waiting.iter().zip(lines.waiting()) {
            shown.store(count, SeqCst);
        }
    }
    fn publish_limit(&self, sizing: &Sizing) {
        self.limit.store(sizing.limit(), Relaxed);
        for (shown, room) in self.rooms.iter().zip(sizing.rooms()) {
            shown.store(room, Relaxed);
        }
    }

    /// Learns from a request: how long it took, or `None` where the service was overloaded. Never waits: of two that come
    /// at the same time, one says nothing.
    pub(super) fn learn(self: &Arc<Self>, latency: Option<Duration>) {
        let Ok(mut sizing) = self.sizing.try_lock() else { return };
        sizing.learn(latency, self.in_flight());
        let (before, limit) = (self.limit(), sizing.limit());
        if limit == before {
            return;
        }
        self.publish_limit(&sizing);
        drop(sizing);
        if limit > before {
            self.serve_waiting();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant {
            self.state.tenants.remove(tenant);
        }
        self.state.in_flight.fetch_sub(1, SeqCst);
        self.state.serve_waiting();
    }
}

impl Drop for AddressHold {
    fn drop(&mut self) {
        self.state.addresses.remove(self.address);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lines = locked(&self.state.lines);
        let gone = lines.remove(self.place, self.id);
        self.state.publish_waiting(&lines);
        drop(lines);
        drop(gone);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
