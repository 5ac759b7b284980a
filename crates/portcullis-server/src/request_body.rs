//! The request body: limited in size, and in how long it may keep the application waiting.
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_core::{BodyError, BodyErrorKind, BodyLimit};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::connection::LINGER;
use crate::limits::Limits;
use crate::pace::Pace;
use crate::stats::{Ending, Stats};
use crate::vitals::Vitals;

/// A request body that ends with a [`BodyError`] when it is too large or comes too slowly.
pub(crate) struct RequestBody {
    /// There until this is dropped.
    incoming: Option<Incoming>,
    limit: BodyLimit,
    /// The limit as it was at the first read.
    bytes: Option<u64>,
    seen: u64,
    pace: Pace,
    stats: Stats,
    /// HTTP/1.1 cannot take the next request before this body is done.
    exchange: Option<Arc<Vitals>>,
    over: bool,
}

impl RequestBody {
    pub(crate) fn new(
        incoming: Incoming,
        limit: BodyLimit,
        limits: &Limits,
        stats: Stats,
        exchange: Option<Arc<Vitals>>,
    ) -> Self {
        let pace = Pace::new(limits.body_idle, limits.byte_rate);
        Self {
            incoming: Some(incoming),
            limit,
            bytes: None,
            seen: 0,
            pace,
            stats,
            exchange,
            over: false,
        }
    }

    fn end(&mut self, complete: bool) {
        if !std::mem::replace(&mut self.over, true)
            && let Some(exchange) = &self.exchange
        {
            exchange.end_body(complete);
        }
    }
    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.limit.failed(error.kind());
        self.stats.ended(Ending::Body);
        self.end(false);
        Poll::Ready(Some(Err(error)))
    }
    /// Whether the body is, or says that it will be, larger than the limit.
    fn is_too_large(&mut self) -> bool {
        let limit = *self.bytes.get_or_insert_with(|| self.limit.get());
        let announced = self.size_hint().lower();
        self.seen.saturating_add(announced) > limit
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if this.is_too_large() {
            return this.fail(BodyError::new(BodyErrorKind::TooLarge));
        }
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => {
                if this.limit.is_rate_lifted() || this.pace.poll_wait(cx, this.seen).is_pending() {
                    return Poll::Pending;
                }
                this.fail(BodyError::new(BodyErrorKind::TooSlow))
            }
            Poll::Ready(None) => {
                this.end(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.fail(BodyError::new(BodyErrorKind::Malformed).cause(error))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                this.seen = this.seen.saturating_add(len as u64);
                this.pace.moved(this.seen);
                if this.is_too_large() {
                    return this.fail(BodyError::new(BodyErrorKind::TooLarge));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
    fn is_end_stream(&self) -> bool {
        self.over || self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }
    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        // A reader that knows the length does not ask for the end behind the last byte.
        self.end(incoming.is_end_stream());
        if self.exchange.is_none() {
            throw_away(incoming);
        }
    }
}

/// Reads what nobody wants of an HTTP/2 request for a while, so that the client has its answer before its stream is reset. A reset
/// that comes with the answer takes it from some clients, curl among them, although it must not (RFC 9113, section 8.1).
pub(crate) fn throw_away(mut incoming: Incoming) {
    if incoming.is_end_stream() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    drop(runtime.spawn(timeout(LINGER, async move {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {}
    })));
}
