//! The body of a request on its way to a server: how far it is, who is waited for, and which trailers pass.
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
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
    /// The server has said that it wants the body.
    wanted: AtomicBool,
    /// Who waits for that word.
    waiting: Mutex<Option<Waker>>,
}

/// How long a body waits for a server to say that it wants it, where its client asked for that word (RFC 9110, section 10.1.1: not for ever,
/// since there are servers that never say it).
const PATIENCE: Duration = Duration::from_secs(1);

impl Upload {
    fn new() -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            taken: AtomicU64::new(0),
            waits_for_client: AtomicBool::new(false),
            failure: OnceLock::new(),
            wanted: AtomicBool::new(false),
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
        self.0.wanted.store(true, Release);
        if let Some(waker) = self.waiting().take() {
            waker.wake();
        }
    }
    fn is_wanted(&self, cx: &Cx<'_>) -> bool {
        *self.waiting() = Some(cx.waker().clone());
        self.0.wanted.load(Acquire)
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
    /// `expects` is whether the client waits for a word before it sends the body.
    pub(crate) fn new(body: Body, sieve: Sieve, expects: bool) -> (Self, Upload) {
        let upload = Upload::new();
        let until = expects.then(|| Box::pin(sleep(PATIENCE)));
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
        if let Some(until) = &mut this.until {
            if !this.upload.is_wanted(cx) {
                ready!(until.as_mut().poll(cx));
            }
            this.until = None;
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.upload.0.waits_for_client.store(polled.is_pending(), Relaxed);
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
