//! The one body type, how layers attach to it, and how one ends before its time.
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{Revocation, Revoked};

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The one body: a layer answers with it whatever body the inner service has. It also serves as the body of requests.
///
/// [`Body::new`] recognises a body that is one already, so a stack boxes once, at its leaf, however many
/// layers it has. Guards and meters attach with [`Body::watched`], without nesting types.
///
/// # Cancellation
/// Dropping a body that has not ended tells its watchers [`End::Dropped`].
#[derive(Default)]
pub struct Body {
    kind: Kind,
    watchers: Watchers,
    until: Option<Until>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Boxed(Boxed),
}

type Boxed = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// Until when a body may go on.
struct Until {
    revocation: Revocation,
    /// Whether the answer was made when the signal was set already: then what is at hand is still sent.
    at_hand: bool,
}

#[derive(Default)]
enum Watchers {
    #[default]
    None,
    One(Box<dyn Watch>),
    Many(Vec<Box<dyn Watch>>),
}

/// Sees a [`Body`] go by. What it holds is released when the body ends or is dropped.
pub trait Watch: Send {
    /// Some data passed.
    fn data(&mut self, _data: &Bytes) {}
    /// Trailers passed.
    fn trailers(&mut self, _trailers: &HeaderMap) {}
    /// The body is over. Called exactly once.
    fn end(&mut self, _how: End) {}
}

/// How a [`Body`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Everything was handed on.
    Complete,
    /// The inner body failed.
    Failed,
    /// The receiver went away first.
    Dropped,
}

pin_project! {
    struct BoxedError<B> { #[pin] body: B }
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self::of_kind(Kind::Empty)
    }

    const fn of_kind(kind: Kind) -> Self {
        Self { kind, watchers: Watchers::None, until: None }
    }

    /// Makes any body ours. One that is ours already is handed through; an empty one costs no allocation.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(own) = (&mut slot as &mut dyn Any).downcast_mut::<Option<Self>>() {
            return own.take().unwrap_or_default();
        }
        match slot {
            Some(body) if !body.is_end_stream() => {
                Self::of_kind(Kind::Boxed(Box::pin(BoxedError { body })))
            }
            _ => Self::empty(),
        }
    }

    /// Lets `watch` see what passes, and the end.
    #[must_use]
    pub fn watched(mut self, watch: impl Watch + 'static) -> Self {
        let watch: Box<dyn Watch> = Box::new(watch);
        self.watchers = match std::mem::take(&mut self.watchers) {
            Watchers::None => Watchers::One(watch),
            Watchers::One(first) => Watchers::Many(vec![first, watch]),
            Watchers::Many(mut all) => {
                all.push(watch);
                Watchers::Many(all)
            }
        };
        self
    }

    /// Lets the body go on only as long as the identity that it is for is good. When `revocation` is set, it ends with the
    /// error [`Revoked`], and what it holds is released.
    ///
    /// A body that is at hand as a whole stays as it is. One that was made when the signal was set already (the answer to a
    /// log-out, say) may still say what it has at hand, and ends where it would have to be waited for.
    #[must_use]
    pub fn until(mut self, revocation: Revocation) -> Self {
        if !matches!(self.kind, Kind::Boxed(_)) {
            return self;
        }
        if self.until.is_some() {
            // Neither signal may replace the other.
            self = Self::of_kind(Kind::Boxed(Box::pin(self)));
        }
        self.until = Some(Until { at_hand: revocation.is_revoked(), revocation });
        self
    }
}

impl Until {
    /// Polls the body, unless it is over. The signal is waited for only while the body is.
    fn poll_frame(
        &mut self,
        body: &mut Boxed,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.at_hand || !self.revocation.is_revoked() {
            let polled = body.as_mut().poll_frame(cx);
            if polled.is_ready() {
                return polled;
            }
            ready!(self.revocation.poll_revoked(cx));
        }
        Poll::Ready(Some(Err(Revoked.into())))
    }
}

impl Watchers {
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Watch)) {
        match self {
            Self::None => {}
            Self::One(watch) => tell(watch.as_mut()),
            Self::Many(all) => all.iter_mut().for_each(|watch| tell(watch.as_mut())),
        }
    }
    /// Tells the end and lets the watchers go, so that it is told once.
    fn end(&mut self, how: End) {
        let mut gone = std::mem::take(self);
        gone.each(|watch| watch.end(how));
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { kind, watchers, until } = self.get_mut();
        let polled = match (&mut *kind, &mut *until) {
            (Kind::Empty, _) => Poll::Ready(None),
            (Kind::Full(data), _) => {
                let data = std::mem::take(data);
                *kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            (Kind::Boxed(body), None) => body.as_mut().poll_frame(cx),
            (Kind::Boxed(body), Some(limit)) => {
                let polled = limit.poll_frame(body, cx);
                if matches!(&polled, Poll::Ready(Some(Err(error))) if error.is::<Revoked>()) {
                    (*kind, *until) = (Kind::Empty, None);
                }
                polled
            }
        };
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => watchers.end(End::Complete),
            Poll::Ready(Some(Err(_))) => watchers.end(End::Failed),
            Poll::Ready(Some(Ok(frame))) => watchers.each(|watch| {
                if let Some(data) = frame.data_ref() {
                    watch.data(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    watch.trailers(trailers);
                }
            }),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !matches!(self.watchers, Watchers::None) {
            // A server that sees `is_end_stream` after the last frame does not ask again.
            let how = if self.is_end_stream() { End::Complete } else { End::Dropped };
            self.watchers.end(how);
        }
    }
}

impl<B> HttpBody for BoxedError<B>
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
        self.project().body.poll_frame(cx).map_err(Into::into)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        let kind = if data.is_empty() { Kind::Empty } else { Kind::Full(data) };
        Self::of_kind(kind)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Boxed(_) => "boxed",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}
