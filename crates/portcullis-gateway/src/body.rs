//! The body of an answer, and what it holds until it is over.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use portcullis_core::{Body, BoxError};
use portcullis_resilience::BulkheadPermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::balance::InFlight;
use crate::pool::Stream;
use crate::proxy::Proxy;
use crate::upload::Upload;
use crate::upstream::Inner;

/// What an answer holds until it is over.
pub(crate) struct Lease {
    pub(crate) in_flight: Option<InFlight>,
    /// The connection, where nobody else uses it.
    pub(crate) sender: Option<SendRequest<Body>>,
    /// The share in a connection that others use too.
    pub(crate) stream: Option<Stream>,
    /// How far the request's body is, where it has one.
    pub(crate) upload: Option<Upload>,
    /// The right to be under way.
    pub(crate) held: Option<BulkheadPermit>,
    pub(crate) upstream: Arc<Inner>,
}

impl Lease {
    /// The answer is over. A connection whose answer was read whole is kept for the next request.
    fn end(&mut self, complete: bool) {
        self.stream = None;
        self.held = None;
        // A connection on which a part of the request is still to come is no place for the next one.
        if self.upload.take().is_some_and(|upload| !upload.stop()) {
            self.sender = None;
        }
        let Some(in_flight) = self.in_flight.take() else { return };
        if let Some(sender) = self.sender.take().filter(|_| complete) {
            let server = in_flight.server();
            server.pool.keep(server, sender, self.upstream.instant());
        }
    }
}

/// The body of an answer. It ends with an error where the server pauses for too long.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    lease: Lease,
    idle: Duration,
    /// One timer for all pauses: it is set anew when it has run out and the present pause has not lasted that long.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the body is waited for.
    waiting: Option<Instant>,
    over: bool,
    /// Who says which trailers pass.
    proxy: Option<Proxy>,
}

/// The server took its answer back in the middle.
#[derive(Debug, thiserror::Error)]
#[error("the server reset the stream of its answer")]
struct Cut;

/// The server stopped in the middle of its answer.
#[derive(Debug, thiserror::Error)]
#[error("the server sent no more of its answer within {0:?}")]
struct Stopped(Duration);

impl UpstreamBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease, idle: Duration) -> Self {
        let mut body =
            Self { incoming, lease, idle, timer: None, waiting: None, over: false, proxy: None };
        if body.incoming.is_end_stream() {
            body.end(true);
        }
        body
    }
    /// Lets only those trailers pass that this lets.
    pub(crate) fn sift(&mut self, proxy: &Proxy) {
        self.proxy = Some(proxy.clone());
    }
    /// Holds this until the answer is over.
    pub(crate) fn hold(&mut self, held: Option<BulkheadPermit>) {
        self.lease.held = held.filter(|_| !self.over);
    }
    fn end(&mut self, complete: bool) {
        self.over = true;
        self.timer = None;
        self.lease.end(complete);
    }
    /// Completes when the present pause has lasted too long.
    fn poll_pause(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        let until = *self.waiting.get_or_insert_with(Instant::now) + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => {
                ready!(this.poll_pause(cx));
                this.end(false);
                Poll::Ready(Some(Err(Stopped(this.idle).into())))
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                this.waiting = None;
                if let (Some(trailers), Some(proxy)) = (frame.trailers_mut(), &this.proxy) {
                    proxy.sift_answer(trailers);
                }
                if this.incoming.is_end_stream() {
                    this.end(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(false);
                Poll::Ready(Some(Err(error.into())))
            }
            // A stream of HTTP/2 that was reset without a reason ends like any other one for hyper, but not whole.
            Poll::Ready(None) if this.lease.stream.is_some() && !this.incoming.is_end_stream() => {
                this.end(false);
                Poll::Ready(Some(Err(Cut.into())))
            }
            Poll::Ready(None) => {
                this.end(true);
                Poll::Ready(None)
            }
        }
    }
    fn is_end_stream(&self) -> bool {
        self.over || self.incoming.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if !self.over {
            // A reader that knows the length does not ask for the end behind the last byte.
            let complete = self.incoming.is_end_stream();
            self.end(complete);
        }
    }
}
