//! The service inside the layer under test.
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use portcullis_core::BoxError;
use tower_service::Service;

use super::ledger::{Held, Ledger, Token};

/// The service inside the layer that a [`Contract`](crate::Contract) checks: it keeps account of what it has out.
///
/// It takes requests with any body, and its body fails with a boxed error, as many do.
#[derive(Debug)]
pub struct Inner {
    act: Act,
    ledger: Ledger,
    ready: Option<Token>,
}

/// The error of [`Inner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerError(());

/// What the inner service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Answers, after a moment.
    Answer,
    /// Is not ready until the ledger opens; then answers.
    NotReady,
    /// Fails to become ready.
    FailReady,
    /// Fails the call.
    Fail,
    /// Never answers.
    Hang,
    /// Answers with a body that never begins.
    HangBody,
    /// Answers with a body that stops after its first frame.
    HangMidBody,
}

/// The frames of an answer.
pub(super) const DATA: [&str; 2] = ["one ", "two"];
/// The media type of an answer.
pub(super) const KIND: &str = "text/plain; charset=utf-8";

/// The trailers of an answer.
pub(super) fn trailers() -> HeaderMap {
    let entry = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    HeaderMap::from_iter([entry])
}

impl Inner {
    pub(super) fn new(act: Act, ledger: Ledger) -> Self {
        Self { act, ledger, ready: None }
    }
}

/// A clone holds no reservation.
impl Clone for Inner {
    fn clone(&self) -> Self {
        Self::new(self.act, self.ledger.clone())
    }
}

impl fmt::Display for InnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the inner service failed")
    }
}

impl std::error::Error for InnerError {}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<InnerBody>;
    type Error = InnerError;
    type Future = InnerFuture;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), InnerError>> {
        match self.act {
            Act::FailReady => return Poll::Ready(Err(InnerError(()))),
            Act::NotReady => ready!(self.ledger.poll_open(cx)),
            _ => {}
        }
        if self.ready.is_none() {
            self.ready = Some(self.ledger.take(Held::Ready));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> InnerFuture {
        self.ready = None;
        self.ledger.called();
        let token = self.ledger.take(Held::Future);
        InnerFuture { act: self.act, ledger: self.ledger.clone(), waited: false, _token: token }
    }
}

/// The future of [`Inner`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct InnerFuture {
    act: Act,
    ledger: Ledger,
    waited: bool,
    _token: Token,
}

impl Future for InnerFuture {
    type Output = Result<Response<InnerBody>, InnerError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.ledger.works();
        if self.act == Act::Hang {
            return Poll::Pending;
        }
        ready!(moment(&mut self.waited, cx));
        if self.act == Act::Fail {
            return Poll::Ready(Err(InnerError(())));
        }
        let token = self.ledger.take(Held::Body);
        let mut response =
            Response::new(InnerBody { act: self.act, frame: 0, waited: false, _token: token });
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Poll::Ready(Ok(response))
    }
}

/// Waits once, so that whoever polls must be able to wait.
fn moment(waited: &mut bool, cx: &mut Cx<'_>) -> Poll<()> {
    if std::mem::replace(waited, true) {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The body of an answer of [`Inner`].
#[derive(Debug)]
pub struct InnerBody {
    act: Act,
    frame: usize,
    waited: bool,
    _token: Token,
}

impl HttpBody for InnerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.act {
            Act::HangBody => return Poll::Pending,
            Act::HangMidBody if self.frame > 0 => return Poll::Pending,
            _ => {}
        }
        ready!(moment(&mut self.waited, cx));
        self.waited = false;
        let at = self.frame;
        self.frame += 1;
        let data = DATA.get(at).map(|data| Frame::data(Bytes::from_static(data.as_bytes())));
        let frame = data.or_else(|| (at == DATA.len()).then(|| Frame::trailers(trailers())));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frame > DATA.len()
    }
}
