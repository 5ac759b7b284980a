//! What is known about one connection while it is served, and what it is told to do.
//!
//! The connection's own task, the wire below hyper and the service above it write here; the sweeper of the registry reads, and
//! gives orders. Time is the registry's coarse clock, so that a request costs no look at a clock and no timer.
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context as Cx, Waker};

use bytes::Bytes;
use portcullis_core::{Draining, Revocation};

use crate::clock::{CoarseClock, Ticks};
use crate::front::Shared;
use crate::stall::Stall;
use crate::stats::Ending;

/// In what state a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// No request yet: PROXY header, TLS handshake, the first request's head.
    Opening,
    /// The head of a later request is on its way.
    Head,
    /// HTTP/1.1 between two requests.
    Idle,
    /// HTTP/1.1 with a request being served.
    Exchange,
    /// HTTP/2, whatever it does.
    Http2,
    /// The connection belongs to another protocol.
    Upgraded,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Opening, Self::Head, Self::Idle, Self::Exchange, Self::Http2, Self::Upgraded];
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders(u8);

impl Orders {
    const NONE: u8 = 0;
    /// Let go of buffers: nothing has happened for a while.
    pub(crate) const PARK: u8 = 1;
    /// Finish what runs, take nothing new (HTTP/2).
    pub(crate) const FINISH: u8 = 2;
    /// Close, if it is still idle.
    pub(crate) const CLOSE_IDLE: u8 = 4;
    /// The head of a request took too long.
    pub(crate) const EXPIRED: u8 = 8;
    /// Close at once, whatever runs.
    pub(crate) const KILL: u8 = 16;

    pub(crate) fn has(self, order: u8) -> bool {
        self.0 & order != 0
    }
}

/// How far the answer to the current HTTP/1.1 request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Turn {
    /// No request.
    Client,
    /// The service has the request and has not answered.
    Service,
    /// The answer is being written.
    Answer,
}

/// How long nothing happens until an idle connection lets go of its buffers, in ticks.
const PARK_AFTER: u32 = 1;
/// For how long a connection is new, in ticks.
const NEWCOMER: u32 = 5;
/// How many bytes of informational responses may wait for a request.
const MAX_INFORMATIONAL: usize = 16 << 10;

pub(crate) struct Vitals {
    shared: Arc<Shared>,
    clock: Arc<CoarseClock>,
    phase: AtomicU8,
    since: AtomicU32,
    turn: AtomicU8,
    /// Which request of an HTTP/1.1 connection is being served; they count from 1.
    number: AtomicU64,
    /// Invariant: true only while every byte that hyper made has been written, and the answer to the current request has
    /// not begun. Only then other bytes may be put into the stream.
    clean: AtomicBool,
    /// The head of the request that is being read says in two ways where it ends.
    two_ends: AtomicBool,
    /// Hyper has been given an answer that is not known to be written whole.
    answered: AtomicBool,
    /// Somebody may still read the current request's body.
    body_open: AtomicBool,
    /// An answer broke off whose end only the end of the connection shows.
    broken: AtomicBool,
    /// A request's body was left unread, so that closing has to linger.
    unread: AtomicBool,
    streams: AtomicU32,
    parked: AtomicBool,
    /// When it was told to make room for another one; plus one, so that zero is never.
    shed_at: AtomicU32,
    stall: Stall,
    header_block_since: AtomicU32,
    orders: AtomicU8,
    waker: Mutex<Option<Waker>>,
    informational: Mutex<Vec<u8>>,
    has_informational: AtomicBool,
    draining: Draining,
    revocation: OnceLock<Revocation>,
}

impl Vitals {
    pub(crate) fn new(shared: Arc<Shared>, clock: Arc<CoarseClock>) -> Self {
        let now = clock.now();
        Self {
            shared,
            clock,
            phase: AtomicU8::new(Phase::Opening as u8),
            since: AtomicU32::new(now),
            turn: AtomicU8::new(Turn::Client as u8),
            number: AtomicU64::new(0),
            clean: AtomicBool::new(true),
            two_ends: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            body_open: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            parked: AtomicBool::new(true),
            shed_at: AtomicU32::new(0),
            stall: Stall::default(),
            header_block_since: AtomicU32::new(0),
            orders: AtomicU8::new(Orders::NONE),
            waker: Mutex::new(None),
            informational: Mutex::new(Vec::new()),
            has_informational: AtomicBool::new(false),
            draining: Draining::new(),
            revocation: OnceLock::new(),
        }
    }

    /// What all connections of the server share.
    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Opening)
    }
    #[inline]
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.clock.now(), Relaxed);
    }
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.clock.now()
    }
    pub(crate) fn draining(&self) -> &Draining {
        &self.draining
    }

    // What the connection's task does.

    /// Remembers whom to wake. A task's waker stays the same, so once is enough; whoever takes an upgraded connection over
    /// calls it again.
    pub(crate) fn wake_with(&self, cx: &Cx<'_>) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
    /// The orders that came since the last look. An order to die stays.
    #[inline]
    pub(crate) fn take_orders(&self) -> Option<Orders> {
        if self.orders.load(Relaxed) == Orders::NONE {
            return None;
        }
        Some(Orders(self.orders.fetch_and(Orders::KILL, Relaxed)))
    }
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.orders.load(Relaxed) & Orders::KILL != 0
    }
    pub(crate) fn order(&self, order: u8) {
        self.orders.fetch_or(order, Relaxed);
        self.wake();
    }
    pub(crate) fn set_parked(&self, parked: bool) {
        self.parked.store(parked, Relaxed);
    }

    // What the service above hyper does with HTTP/1.1 requests.

    /// A request has come. Answers its number.
    #[inline]
    pub(crate) fn begin_exchange(&self, has_body: bool) -> u64 {
        if self.answered.load(Relaxed) {
            // The last answer still lies in hyper's buffer: nothing may go in front of it.
            self.clean.store(false, Relaxed);
        }
        if self.has_informational.load(Relaxed) {
            self.forget_informational();
        }
        if self.orders.load(Relaxed) != Orders::NONE {
            // What the sweeper said of a connection that had no request is out of date.
            self.orders.fetch_and(Orders::KILL | Orders::FINISH, Relaxed);
        }
        self.body_open.store(has_body, Relaxed);
        self.turn.store(Turn::Service as u8, Relaxed);
        self.enter(Phase::Exchange);
        self.number.fetch_add(1, Relaxed) + 1
    }
    #[inline]
    pub(crate) fn begin_answer(&self) {
        self.turn.store(Turn::Answer as u8, Relaxed);
        self.answered.store(true, Relaxed);
    }
    #[inline]
    pub(crate) fn end_answer(&self) {
        self.turn.store(Turn::Client as u8, Relaxed);
    }
    pub(crate) fn end_body(&self, complete: bool) {
        self.body_open.store(false, Relaxed);
        if !complete {
            self.unread.store(true, Relaxed);
        }
    }
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Relaxed);
    }
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }
    pub(crate) fn set_two_ends(&self) {
        self.two_ends.store(true, Relaxed);
    }
    /// Whether the head of the request that has just come said in two ways where it ends. Asked once for each.
    pub(crate) fn takes_two_ends(&self) -> bool {
        self.two_ends.load(Relaxed) && self.two_ends.swap(false, Relaxed)
    }
    /// The client may send the next request: nothing runs, everything is written.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.turn() == Turn::Client
            && !self.answered.load(Relaxed)
            && self.clean.load(Relaxed)
            && !self.body_open.load(Relaxed)
    }
    #[inline]
    fn turn(&self) -> Turn {
        match self.turn.load(Relaxed) {
            0 => Turn::Client,
            1 => Turn::Service,
            _ => Turn::Answer,
        }
    }

    // What the wire below hyper does.

    /// Bytes came from the client. Whether the head of a later request begins with them: empty lines in front of it are none of
    /// it (RFC 9112, section 2.2).
    #[inline]
    pub(crate) fn received(&self, bytes: &[u8]) -> bool {
        let begins = self.phase.load(Relaxed) == Phase::Idle as u8 && !is_blank(bytes);
        if begins {
            self.enter(Phase::Head);
        }
        begins
    }
    /// Some of what hyper made was written, or at least begun.
    #[inline]
    pub(crate) fn wrote(&self) {
        self.clean.store(false, Relaxed);
    }
    /// The system took some of what was written.
    #[inline]
    pub(crate) fn write_moves(&self, bytes: u64) {
        self.stall.moved(bytes, self.clock.now());
    }
    /// The system takes no more for now.
    pub(crate) fn write_stalls(&self) {
        self.stall.begin(self.clock.now());
    }
    /// Everything that hyper made so far is written.
    #[inline]
    pub(crate) fn flushed(&self) {
        self.stall.reset();
        let turn = self.turn();
        if turn == Turn::Answer {
            return;
        }
        self.answered.store(false, Relaxed);
        self.clean.store(true, Relaxed);
        let in_exchange = self.phase.load(Relaxed) == Phase::Exchange as u8;
        if in_exchange && turn == Turn::Client && !self.body_open.load(Relaxed) {
            self.enter(Phase::Idle);
        }
    }
    pub(crate) fn header_block(&self, since: Option<u32>) {
        self.header_block_since.store(since.map_or(0, |since| since + 1), Relaxed);
    }

    // Informational responses.

    /// Lets `head` go out ahead of the answer to request `number`, unless that has begun.
    pub(crate) fn inform(&self, number: u64, head: &[u8]) {
        {
            let mut waiting = self.informational.lock().unwrap_or_else(PoisonError::into_inner);
            let current = self.number.load(Relaxed) == number && self.turn() == Turn::Service;
            if !current || waiting.len() + head.len() > MAX_INFORMATIONAL {
                return;
            }
            waiting.extend_from_slice(head);
            self.has_informational.store(true, Relaxed);
        }
        self.wake();
    }
    #[inline]
    pub(crate) fn has_informational(&self) -> bool {
        self.has_informational.load(Relaxed)
    }
    /// What is to go out ahead of the answer. Nothing unless the stream is clean.
    #[inline]
    pub(crate) fn take_informational(&self) -> Option<Bytes> {
        if !self.has_informational.load(Relaxed) {
            return None;
        }
        if !self.clean.load(Relaxed) {
            // Behind the beginning of an answer it would become part of that answer.
            if self.turn() != Turn::Service {
                self.forget_informational();
            }
            return None;
        }
        Some(self.forget_informational().into())
    }
    fn forget_informational(&self) -> Vec<u8> {
        let mut waiting = self.informational.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_informational.store(false, Relaxed);
        std::mem::take(&mut *waiting)
    }

    /// Whether the connection belongs to another protocol, or has to end.
    #[inline]
    pub(crate) fn is_out_of_the_ordinary(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Upgraded as u8 || self.is_killed()
    }

    // Upgrades.

    pub(crate) fn ends_with(&self, revocation: Revocation) {
        drop(self.revocation.set(revocation));
    }
    pub(crate) fn revocation(&self) -> Option<&Revocation> {
        self.revocation.get()
    }

    // HTTP/2 streams.

    pub(crate) fn begin_stream(&self) {
        self.streams.fetch_add(1, Relaxed);
    }
    pub(crate) fn end_stream(&self) {
        if self.streams.fetch_sub(1, Relaxed) == 1 {
            self.since.store(self.clock.now(), Relaxed);
        }
    }

    // What the sweeper does.

    /// Gives the orders that are due at `now`.
    pub(crate) fn sweep(&self, now: u32, limits: &Ticks) {
        let age = now.saturating_sub(self.since.load(Relaxed));
        if self.stall.is_too_long(now, limits) {
            if !self.is_killed() {
                self.shared.stats.ended(Ending::WriteTime);
            }
            return self.order(Orders::KILL);
        }
        let shed_at = self.shed_at.load(Relaxed);
        if shed_at != 0 {
            self.sweep_shed(now.saturating_sub(shed_at - 1));
        }
        match self.phase() {
            Phase::Opening | Phase::Head if age >= limits.header => self.order(Orders::EXPIRED),
            Phase::Idle if age >= limits.idle => self.order(Orders::CLOSE_IDLE),
            Phase::Idle if age >= PARK_AFTER && !self.parked.load(Relaxed) => {
                self.order(Orders::PARK);
            }
            Phase::Http2 => {
                let block = self.header_block_since.load(Relaxed);
                if block != 0 && now.saturating_sub(block - 1) >= limits.header {
                    self.order(Orders::KILL);
                } else if self.streams.load(Relaxed) == 0 && age >= limits.idle {
                    // One that does not go takes nothing of what waits for it.
                    let overdue = age >= limits.idle.saturating_add(limits.write);
                    self.order(if overdue { Orders::KILL } else { Orders::FINISH });
                }
            }
            _ => {}
        }
    }
    /// Reminds one that was told to go, `ago` ticks ago, as soon as it is idle. An HTTP/2 client has a second to say that it knows.
    fn sweep_shed(&self, ago: u32) {
        match self.phase() {
            Phase::Idle => self.order(Orders::CLOSE_IDLE),
            Phase::Http2 if ago >= NEWCOMER && self.streams.load(Relaxed) == 0 => {
                self.order(Orders::KILL);
            }
            _ => {}
        }
    }
    /// Tells an idle connection to make room for another one.
    pub(crate) fn shed(&self) {
        self.shed_at.store(self.clock.now() + 1, Relaxed);
        self.order(Orders::CLOSE_IDLE | Orders::FINISH);
    }
    /// Whether the head of a request is overdue. The sweeper may have looked while one phase gave way to the next, so whoever obeys
    /// it asks again.
    pub(crate) fn is_overdue(&self) -> bool {
        let age = self.clock.now().saturating_sub(self.since.load(Relaxed));
        let waits = matches!(self.phase(), Phase::Opening | Phase::Head);
        waits && age >= CoarseClock::ticks(self.shared.limits.header_time)
    }
    /// The server drains: says so to whoever listens, and has HTTP/2 finish.
    pub(crate) fn drain(&self) {
        self.draining.drain();
        if matches!(self.phase(), Phase::Opening | Phase::Http2) {
            self.order(Orders::FINISH);
        }
    }
    /// The server closes what is idle. A connection that has just come, perhaps out of the queue of a socket that closed behind it,
    /// has a second for its request.
    pub(crate) fn close_if_idle(&self, now: u32) {
        let age = now.saturating_sub(self.since.load(Relaxed));
        if self.phase() != Phase::Opening || age >= NEWCOMER {
            self.order(Orders::CLOSE_IDLE);
        }
    }
    /// For how many ticks the connection has been idle.
    pub(crate) fn idle_for(&self, now: u32) -> Option<u32> {
        let streams = self.streams.load(Relaxed);
        let idle = self.phase() == Phase::Idle || (self.phase() == Phase::Http2 && streams == 0);
        idle.then(|| now.saturating_sub(self.since.load(Relaxed)))
    }
    /// Whether it was told to make room for another one.
    pub(crate) fn is_shed(&self) -> bool {
        self.shed_at.load(Relaxed) != 0
    }
}

/// Whether there are only line ends.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}
