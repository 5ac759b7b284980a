//! A signal that is set once, and whoever waits for it.
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Poll, Waker};

/// A signal that is set once and stays set. Clones share it; each clone is a place for one task to wait at.
///
/// A place is given back when its handle is dropped, so that what waits for a signal that lives as long as the program
/// leaves nothing behind.
#[derive(Default)]
pub(crate) struct Signal {
    shared: Arc<Shared>,
    /// Where this handle waits, once it does.
    place: Option<Box<Place>>,
}

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// The tasks that wait, by their places, and the places that are free.
#[derive(Default)]
struct Waiting {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

struct Place {
    index: usize,
    /// The one that stands in the list, so that the list is not locked when the same task asks again.
    waker: Waker,
}

impl Signal {
    pub(crate) fn is_set(&self) -> bool {
        self.shared.set.load(Ordering::Acquire)
    }
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
    pub(crate) fn set(&self) {
        self.shared.set.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.shared.lock());
        waiting.wakers.into_iter().flatten().for_each(Waker::wake);
    }
    pub(crate) fn poll_set(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        if self.place.as_ref().is_some_and(|place| place.waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut waiting = self.shared.lock();
        // Invariant: whoever sets the signal takes the list afterwards, so a waker that is entered now is woken.
        if self.is_set() {
            return Poll::Ready(());
        }
        let index = match &self.place {
            Some(place) => place.index,
            None => waiting.free_place(),
        };
        let before = waiting.put(index, waker.clone());
        // Invariant: no waker is dropped under the lock, since that may run code that waits for this very signal.
        drop(waiting);
        drop(before);
        self.place = Some(Box::new(Place { index, waker }));
        Poll::Pending
    }
    /// Completes when the signal is set.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let mut own = self.clone();
        poll_fn(move |cx| own.poll_set(cx))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
    /// Enters a waker, and hands out the one that stood there.
    fn put(&mut self, index: usize, waker: Waker) -> Option<Waker> {
        self.wakers.get_mut(index)?.replace(waker)
    }
    /// Gives a place back. There is none any more when the signal was set meanwhile.
    fn leave(&mut self, index: usize) -> Option<Waker> {
        let waker = self.wakers.get_mut(index)?.take()?;
        self.free.push(index);
        Some(waker)
    }
}

impl Clone for Signal {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), place: None }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // It is dropped behind the lock, too.
            let waker = self.shared.lock().leave(place.index);
            drop(waker);
        }
    }
}

/// Makes a public signal of its own out of [`Signal`].
macro_rules! signal {
    (
        $(#[$doc:meta])* $name:ident;
        $(#[$set_doc:meta])* $set:ident;
        $(#[$is_doc:meta])* $is:ident;
        $(#[$poll_doc:meta])* $poll:ident;
        $(#[$wait_doc:meta])* $wait:ident;
    ) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name($crate::signal::Signal);

        impl $name {
            /// A signal that is not set.
            pub fn new() -> Self {
                Self::default()
            }
            $(#[$set_doc])*
            pub fn $set(&self) {
                self.0.set();
            }
            $(#[$is_doc])*
            pub fn $is(&self) -> bool {
                self.0.is_set()
            }
            $(#[$poll_doc])*
            pub fn $poll(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
                self.0.poll_set(cx)
            }
            $(#[$wait_doc])*
            pub fn $wait(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
                self.0.wait()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.$is()).finish()
            }
        }
    };
}

pub(crate) use signal;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    /// How often a task was woken.
    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn places(signal: &Signal) -> (usize, usize) {
        let waiting = signal.shared.lock();
        (waiting.wakers.len(), waiting.wakers.iter().flatten().count())
    }

    #[tokio::test]
    async fn wakes_every_waiting_task_and_stays_set() {
        let signal = Signal::default();
        let waiters = [0; 3].map(|_| tokio::spawn(signal.wait()));
        tokio::task::yield_now().await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        signal.set();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert!(signal.is_set() && signal.clone().is_set());
        signal.wait().await;
        // Setting it again changes nothing.
        signal.set();
        assert!(signal.is_set());
    }

    #[test]
    fn a_place_is_given_back_with_its_handle_and_used_again() {
        let signal = Signal::default();
        let mut cx = Cx::from_waker(Waker::noop());
        for round in 0..100 {
            let mut handles = [0; 3].map(|_| signal.clone());
            for handle in &mut handles {
                assert!(handle.poll_set(&mut cx).is_pending());
                // Asking again takes no second place, a clone takes none before it asks.
                assert!(handle.poll_set(&mut cx).is_pending());
                drop(handle.clone());
            }
            assert_eq!(places(&signal), (3, 3), "round {round}");
        }
        assert_eq!(places(&signal), (3, 0));
        let mut last = signal.clone();
        assert!(last.poll_set(&mut cx).is_pending());
        signal.set();
        assert_eq!(places(&signal), (0, 0));
        assert!(last.poll_set(&mut cx).is_ready());
    }

    #[test]
    fn the_task_that_asked_last_is_the_one_that_is_woken() {
        let tasks = [0; 2].map(|_| Arc::new(Counts::default()));
        let signal = Signal::default();
        let mut wait = pin!(signal.wait());
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            assert!(wait.as_mut().poll(&mut Cx::from_waker(&waker)).is_pending());
        }
        signal.set();
        assert_eq!(tasks.map(|task| task.0.load(Ordering::SeqCst)), [0, 1]);
    }

    #[test]
    fn no_task_sleeps_through_a_signal_that_is_set_while_it_begins_to_wait() {
        let signals: Vec<_> = (0..20_000).map(|_| Signal::default()).collect();
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let reaches = |count: &AtomicUsize, number| {
            // Both threads look at the same time, unless there is one processor for the two.
            for spins in 0.. {
                if count.load(Ordering::Acquire) >= number {
                    break;
                }
                if spins < 2_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        };
        let mut asleep = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (signal, number) in signals.iter().zip(1..) {
                    reaches(&begun, number);
                    signal.set();
                    done.store(number, Ordering::Release);
                }
            });
            for (signal, number) in signals.iter().zip(1..) {
                let task = Arc::new(Counts::default());
                let waker = Waker::from(Arc::clone(&task));
                let mut handle = signal.clone();
                begun.store(number, Ordering::Release);
                let polled = handle.poll_set(&mut Cx::from_waker(&waker));
                reaches(&done, number);
                asleep += usize::from(polled.is_pending() && task.0.load(Ordering::SeqCst) == 0);
            }
        });
        assert_eq!(asleep, 0);
    }
}
