//! A signal that an identity is no longer good.
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Cx, Poll, Waker};

/// Tells everyone who serves an identity that it is no longer good: streams end, tokens are forgotten.
///
/// Clones share one signal. It is set once and stays set.
#[derive(Clone, Default)]
pub struct Revocation(Arc<Shared>);

#[derive(Default)]
struct Shared {
    revoked: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Revocation {
    /// A signal that is not set.
    pub fn new() -> Self {
        Self::default()
    }
    /// Sets the signal and wakes everyone who waits for it.
    pub fn revoke(&self) {
        self.0.revoked.store(true, Ordering::Release);
        let waiting =
            std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
    /// Whether the signal is set.
    pub fn is_revoked(&self) -> bool {
        self.0.revoked.load(Ordering::Acquire)
    }
    /// Completes when the signal is set. The task is woken then.
    pub fn poll_revoked(&self, cx: &mut Cx<'_>) -> Poll<()> {
        if self.is_revoked() {
            return Poll::Ready(());
        }
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // One waker a task, so that a stream that polls for hours does not grow the list.
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
        }
        // The signal may have been set between the first look and the entry in the list.
        if self.is_revoked() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revocation").field(&self.is_revoked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_a_waiting_task_once_and_stays_set() {
        let signal = Revocation::new();
        let waiter = tokio::spawn({
            let signal = signal.clone();
            async move { std::future::poll_fn(|cx| signal.poll_revoked(cx)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        signal.revoke();
        waiter.await.unwrap();
        assert!(signal.is_revoked());
    }
}
