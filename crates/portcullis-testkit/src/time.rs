//! Time that stands still until a test moves it.
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use portcullis_core::{Clock, Sleep, Time};

/// Time that stands still until a test moves it. Clones share it.
///
/// It is a [`Time`], which [`clock`](Self::clock) puts into a [`Clock`], and a [`Sleep`], whose waits end when the time
/// is moved far enough. Neither needs a runtime: [`advance`](Self::advance) is enough for them.
///
/// Code that waits with tokio's own timers needs [`advance_with_tokio`](Self::advance_with_tokio), which moves both.
/// A paused tokio runtime that has nothing else to do moves its timers by itself, and the fake cannot see that: let
/// such a test always have something to do, or let the code under test wait with a [`Sleep`].
///
/// ```
/// use std::time::Duration;
/// use portcullis_testkit::FakeTime;
/// let time = FakeTime::new();
/// let clock = time.clock();
/// let before = clock.now();
/// time.advance(Duration::from_secs(60));
/// assert_eq!(clock.now() - before, Duration::from_secs(60));
/// ```
///
/// One fake for both:
///
/// ```
/// # use std::time::Duration;
/// # use portcullis_testkit::FakeTime;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let time = FakeTime::new();
/// let wait = tokio::spawn(tokio::time::sleep(Duration::from_secs(60)));
/// tokio::task::yield_now().await; // The wait begins.
/// time.advance_with_tokio(Duration::from_secs(60)).await;
/// assert!(wait.is_finished());
/// # }
/// ```
#[derive(Clone)]
pub struct FakeTime(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    passed: Duration,
    wall: SystemTime,
    next_wait: u64,
    waits: BTreeMap<u64, (Duration, Waker)>,
}

/// The calendar's time at which a fake begins, in seconds: 2025-01-01T00:00:00Z.
const BEGIN: Duration = Duration::from_secs(1_735_689_600);

impl FakeTime {
    /// Time that begins at 2025-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + BEGIN)
    }
    /// Time that begins at `wall`.
    pub fn starting_at(wall: SystemTime) -> Self {
        let (passed, next_wait, waits) = (Duration::ZERO, 0, BTreeMap::new());
        Self(Arc::new(Shared {
            start: Clock::system().now(),
            state: Mutex::new(State { passed, wall, next_wait, waits }),
        }))
    }
    /// A clock that shows this time.
    pub fn clock(&self) -> Clock {
        Clock::new(self.clone())
    }
    /// How much time has passed since the beginning.
    pub fn passed(&self) -> Duration {
        self.lock().passed
    }
    /// How many waits of this [`Sleep`] have been polled and have neither ended nor been dropped.
    pub fn waiting(&self) -> usize {
        self.lock().waits.len()
    }

    /// Moves the time on, on both clocks, and wakes the waits of this [`Sleep`] that end thereby.
    ///
    /// # Panics
    /// When the time no longer fits its type.
    pub fn advance(&self, duration: Duration) {
        let due: BTreeMap<_, _>;
        {
            let mut state = self.lock();
            state.passed += duration;
            state.wall += duration;
            let passed = state.passed;
            (due, state.waits) = mem::take(&mut state.waits)
                .into_iter()
                .partition(|(_, (until, _))| *until <= passed);
        }
        // Not under the lock: a waker may poll at once.
        for (_, waker) in due.into_values() {
            waker.wake();
        }
    }

    /// As [`advance`](Self::advance), and moves tokio's timers by as much; then lets the tasks run that it woke.
    ///
    /// # Panics
    /// When tokio's time is not paused (`#[tokio::test(start_paused = true)]`).
    pub async fn advance_with_tokio(&self, duration: Duration) {
        self.advance(duration);
        tokio::time::advance(duration).await;
        // Tokio polls the test itself before the tasks that the timers woke.
        tokio::task::yield_now().await;
    }

    /// Sets the calendar's clock, as an operator or a time server does: [`Time::now`] and the waits do not notice.
    pub fn jump_wall(&self, wall: SystemTime) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeTime {
    fn default() -> Self {
        Self::new()
    }
}

impl Time for FakeTime {
    fn now(&self) -> Instant {
        self.0.start + self.passed()
    }
    fn wall(&self) -> SystemTime {
        self.lock().wall
    }
}

impl Sleep for FakeTime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut state = self.lock();
        let (until, id) = (state.passed.saturating_add(duration), state.next_wait);
        state.next_wait += 1;
        Box::pin(Wait { time: self.clone(), until, id })
    }
}

impl fmt::Debug for FakeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FakeTime")
            .field("passed", &state.passed)
            .field("wall", &state.wall)
            .field("waiting", &state.waits.len())
            .finish()
    }
}

/// One wait.
struct Wait {
    time: FakeTime,
    until: Duration,
    id: u64,
}

impl Future for Wait {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let mut state = self.time.lock();
        if state.passed >= self.until {
            return Poll::Ready(());
        }
        state.waits.insert(self.id, (self.until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.time.lock().waits.remove(&self.id);
    }
}
