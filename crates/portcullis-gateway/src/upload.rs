//! The body of a request on its way to a server: how far it is, who is waited for, and which trailers pass.
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::{Body, BodyError, BoxError};

/// How far the body of a request is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Goes up with every frame.
    taken: AtomicU64,
    /// The server would take more, and the client has not sent it.
    waits_for_client: AtomicBool,
    /// Why it could not be read to its end. Over HTTP/2 the sender's error does not say it.
    failure: OnceLock<BodyError>,
}

impl Upload {
    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Relaxed)
    }
    pub(crate) fn waits_for_client(&self) -> bool {
        self.0.waits_for_client.load(Relaxed)
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
}

impl UploadBody {
    pub(crate) fn new(body: Body, sieve: Sieve) -> (Self, Upload) {
        let upload = Upload::default();
        (Self { body, upload: upload.clone(), sieve }, upload)
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
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.upload.0.waits_for_client.store(polled.is_pending(), Relaxed);
        if polled.is_ready() {
            this.upload.0.taken.fetch_add(1, Relaxed);
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
