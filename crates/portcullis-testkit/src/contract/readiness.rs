//! Readiness and back-pressure.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Cx, Poll, Wake, Waker};

use http::Method;

use super::bench::{Bench, Case, is_refusal, shown};
use super::inner::Act;
use super::outer::{Call, Outer};

/// How often a call is polled to see whether it waits.
const POLLS: usize = 16;

impl Bench {
    pub(super) async fn readiness(&self) {
        self.clones_are_unready().await;
        self.back_pressure().await;
    }

    /// A clone of a ready service is made ready by itself, and leaves the readiness of the first alone.
    async fn clones_are_unready(&self) {
        let (case, mut first) = self.case("a clone of a service that is ready", Act::Answer);
        case.ready(&mut first).await;
        let call = case.call(&mut first.clone()).await;
        case.inspect(&Method::GET, case.answer(call).await).await;
        let call = first.call(case.request());
        case.inspect(&Method::GET, case.answer(call).await).await;
        case.nothing_left();
    }

    async fn back_pressure(&self) {
        let (case, mut outer) = self.case("an inner service that is not ready", Act::NotReady);
        if let Some(call) = case.held_back(&mut outer).await {
            case.inspect(&Method::GET, case.answer(call).await).await;
        }
        drop(outer);
        case.nothing_left();
    }
}

impl Case<'_> {
    /// A call that began, or was allowed to begin, only after the inner service became ready; `None` if it was shed.
    async fn held_back(&self, outer: &mut Outer) -> Option<Call> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        match outer.poll_ready(&mut Cx::from_waker(&waker)) {
            Poll::Ready(Err(error)) => self.fail(format!("`poll_ready` failed: {error}")),
            Poll::Ready(Ok(())) => {
                // A layer that is always ready must wait in its call.
                let mut call = outer.call(self.request());
                for _ in 0..POLLS {
                    match self.poll_once(&mut call).await {
                        Poll::Pending => tokio::task::yield_now().await,
                        Poll::Ready(Ok(answer)) if self.bench.sheds && is_refusal(&answer) => {
                            self.inspect(&Method::GET, answer).await;
                            return None;
                        }
                        Poll::Ready(answer) => {
                            self.fail(format!("the call must wait, but gave {}", shown(&answer)))
                        }
                    }
                }
                self.ledger.open();
                Some(call)
            }
            Poll::Pending => {
                self.ledger.open();
                if !woken.0.load(Ordering::SeqCst) {
                    self.fail("`poll_ready` was pending, but whoever waits is never woken");
                }
                Some(self.call(outer).await)
            }
        }
    }
}

/// Notes that somebody was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
