//! The response body, as hyper gets it.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError};

use crate::streams::StreamState;
use crate::vitals::Vitals;

pin_project! {
    /// The application's body, or ours; it tells the connection when it is over.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
        turn: Option<Turn>,
        ends_with_connection: bool,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Theirs { #[pin] body: B },
        Ours { #[pin] body: Body },
    }
}

/// Whom the body tells how it goes.
pub(crate) enum Turn {
    /// The one exchange of an HTTP/1.1 connection.
    Http1(Arc<Vitals>),
    /// One stream of an HTTP/2 connection.
    Http2(Arc<StreamState>),
}

impl Turn {
    pub(crate) fn vitals(&self) -> &Vitals {
        match self {
            Self::Http1(vitals) => vitals,
            Self::Http2(stream) => stream.vitals(),
        }
    }
    fn polled(&self, bytes: Option<usize>) {
        if let Self::Http2(stream) = self {
            stream.polled(bytes);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self {
            Self::Http1(vitals) => vitals.end_answer(),
            Self::Http2(stream) => stream.polled(None),
        }
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn theirs(body: B, turn: Option<Turn>, version: Version) -> Self {
        // HTTP/1.0 has no chunks, so that a length which nobody knows is told by closing.
        let ends_with_connection = version <= Version::HTTP_10;
        Self { kind: Kind::Theirs { body }, turn, ends_with_connection }
    }
    pub(crate) fn ours(body: Body, turn: Option<Turn>) -> Self {
        Self { kind: Kind::Ours { body }, turn, ends_with_connection: false }
    }
}

impl<B> HttpBody for ResponseBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let polled = match this.kind.project() {
            KindProj::Theirs { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Ours { body } => body.poll_frame(cx),
        };
        let bytes = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map(Bytes::len),
            _ => None,
        };
        if let Some(turn) = this.turn {
            turn.polled(bytes);
            if *this.ends_with_connection && matches!(polled, Poll::Ready(Some(Err(_)))) {
                turn.vitals().break_off();
            }
        }
        Poll::Ready(ready!(polled))
    }
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Theirs { body } => body.is_end_stream(),
            Kind::Ours { body } => body.is_end_stream(),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Theirs { body } => body.size_hint(),
            Kind::Ours { body } => body.size_hint(),
        }
    }
}
