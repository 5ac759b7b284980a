//! The body of a request on its way to a server: how far it is, who is waited for, and which trailers pass.
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as Cx, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::{Body, BodyError, BoxError};
use tokio::time::{Instant, Sleep, sleep};

/// How far the body of a request is.
#[derive(Clone, Debug)]
pub(crate) struct Upload(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// When the last frame was taken, in microseconds since the beginning.
    taken: AtomicU64,
    /// The server would take more, and the client has not sent it.
    waits_for_client: AtomicBool,
    /// Why it could not be read to its end. Over HTTP/2 the sender's error does not say it.
    failure: OnceLock<BodyError>,
    /// What is to become of it.
    fate: AtomicU8,
    /// All of it was taken.
    over: AtomicBool,
    /// Who is to hear of a change of fate.
    waiting: Mutex<Option<Waker>>,
}

/// Nothing is known: a body whose client waits for a word waits, for a while.
const OPEN: u8 = 0;
/// The server wants it, or cannot say so.
const WANTED: u8 = 1;
/// The server has answered without it: what has not begun does not begin.
const UNWANTED: u8 = 2;
/// The answer is over: it ends where it is.
const STOPPED: u8 = 3;

/// The server has answered, and nobody reads the rest.
#[derive(Debug, thiserror::Error)]
#[error("the server has answered before it had the whole request")]
struct Stopped;

/// How long a body waits for a server to say that it wants it, where its client asked for that word (RFC 9110, section 10.1.1: not for ever,
/// since there are servers that never say it).
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

impl Upload {
    fn new() -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            taken: AtomicU64::new(0),
            waits_for_client: AtomicBool::new(false),
            failure: OnceLock::new(),
            fate: AtomicU8::new(OPEN),
            over: AtomicBool::new(false),
            waiting: Mutex::new(None),
        }))
    }
    /// When a part of it was taken for the last time.
    pub(crate) fn taken(&self) -> Instant {
        self.0.began + Duration::from_micros(self.0.taken.load(Relaxed))
    }
    pub(crate) fn waits_for_client(&self) -> bool {
        self.0.waits_for_client.load(Relaxed)
    }
    /// The server wants the body, or cannot say so.
    pub(crate) fn want(&self) {
        self.turn(WANTED);
    }
    /// The server has answered. What it has not asked for does not follow.
    pub(crate) fn answered(&self) {
        let was = self.0.fate.compare_exchange(OPEN, UNWANTED, AcqRel, Acquire);
        if was.is_ok() {
            self.wake();
        }
    }
    /// The answer is over. Says whether all of the body was taken by then; otherwise it ends with an error, and the connection with it.
    pub(crate) fn stop(&self) -> bool {
        let is_over = self.0.over.load(Acquire);
        if !is_over {
            self.turn(STOPPED);
        }
        is_over
    }
    fn turn(&self, fate: u8) {
        self.0.fate.store(fate, Release);
        self.wake();
    }
    fn wake(&self) {
        if let Some(waker) = self.waiting().take() {
            waker.wake();
        }
    }
    fn fate(&self) -> u8 {
        self.0.fate.load(Acquire)
    }
    fn waiting(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn failure(&self) -> Option<&BodyError> {
        self.0.failure.get()
    }
}

/// Takes from trailers what may not pass.
pub(crate) type Sieve = Box<dyn Fn(&mut HeaderMap) + Send>;

/// A body that tells how far it is, and lets only some trailers pass.
pub(crate) struct UploadBody {
    body: Body,
    upload: Upload,
    sieve: Sieve,
    /// Until when it waits for the server's word.
    until: Option<Pin<Box<Sleep>>>,
}

impl UploadBody {
    /// `patience` is how long it waits for a word of the server's, where the client asks for one before it sends the body.
    pub(crate) fn new(body: Body, sieve: Sieve, patience: Option<Duration>) -> (Self, Upload) {
        let upload = Upload::new();
        let until = patience.map(|patience| Box::pin(sleep(patience)));
        (Self { body, upload: upload.clone(), sieve, until }, upload)
    }
}

impl HttpBody for UploadBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        // Before the look, so that no change is missed.
        *this.upload.waiting() = Some(cx.waker().clone());
        match this.upload.fate() {
            STOPPED => {
                // Whoever sends it hears so at once.
                this.body = Body::empty();
                return Poll::Ready(Some(Err(Stopped.into())));
            }
            UNWANTED if this.until.is_some() => return Poll::Pending,
            OPEN => {
                if let Some(until) = &mut this.until {
                    ready!(until.as_mut().poll(cx));
                }
            }
            _ => {}
        }
        this.until = None;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.upload.0.waits_for_client.store(polled.is_pending(), Relaxed);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) || this.body.is_end_stream()
        {
            this.upload.0.over.store(true, Release);
        }
        if polled.is_ready() {
            let since = this.upload.0.began.elapsed().as_micros();
            this.upload.0.taken.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        }
        if let Poll::Ready(Some(Err(error))) = &polled
            && let Some(failure) = BodyError::find(error.as_ref())
        {
            drop(this.upload.0.failure.set(failure.clone()));
        }
        polled.map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                (this.sieve)(trailers);
            }
            frame
        })
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
