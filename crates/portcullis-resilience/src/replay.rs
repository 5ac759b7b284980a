//! A request body that can be sent again.
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::{Body, BoxError};

/// Remembers a request body while it is sent, so that it can be sent again. Nothing waits for the whole of it: what has been sent is
/// remembered, what has not is read when it is wanted.
///
/// ```
/// use portcullis_core::Body;
/// use portcullis_resilience::Replay;
/// let (replay, first) = Replay::new(Body::from("hello"), 64 << 10);
/// drop(first); // It failed somewhere.
/// assert!(replay.again().is_some());
/// ```
#[derive(Clone, Debug)]
pub struct Replay(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: usize,
    /// What was read, as far as it can be sent again.
    kept: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    rest: Body,
    ended: bool,
    /// More was read than is remembered, or reading failed.
    lost: bool,
    /// Who may read the rest: the last one.
    reader: u32,
}

/// A body, the first time or once more.
#[derive(Debug)]
pub struct ReplayBody {
    replay: Replay,
    number: u32,
    /// How many of the pieces have been given.
    at: usize,
    trailers_given: bool,
}

/// Somebody else sends the body by now.
#[derive(Debug, thiserror::Error)]
#[error("the body is being sent again elsewhere")]
struct Superseded;

impl Replay {
    /// Remembers up to `limit` bytes of `body`. Answers what to send first.
    pub fn new(body: Body, limit: usize) -> (Self, ReplayBody) {
        let state = State {
            limit,
            kept: Vec::new(),
            bytes: 0,
            trailers: None,
            rest: body,
            ended: false,
            lost: false,
            reader: 0,
        };
        let replay = Self(Arc::new(Mutex::new(state)));
        let first = ReplayBody { replay: replay.clone(), number: 0, at: 0, trailers_given: false };
        (replay, first)
    }
    /// Whether it can come again, as far as it was read.
    pub fn is_whole(&self) -> bool {
        !self.lock().lost
    }
    /// The same body once more, from its beginning; the one before ends with an error. `None` where more was read than is
    /// remembered, or where reading failed.
    pub fn again(&self) -> Option<ReplayBody> {
        let mut state = self.lock();
        if state.lost {
            return None;
        }
        state.reader += 1;
        let (replay, number) = (self.clone(), state.reader);
        Some(ReplayBody { replay, number, at: 0, trailers_given: false })
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads more, and remembers it.
    fn read(&mut self, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.rest).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => self.keep(data),
                (None, Some(trailers)) => {
                    self.trailers = Some(trailers.clone());
                    self.ended = true;
                }
                (None, None) => {}
            },
            Poll::Ready(Some(Err(_))) => self.lose(),
            Poll::Ready(None) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }
    fn keep(&mut self, data: &Bytes) {
        self.bytes = self.bytes.saturating_add(data.len());
        if self.bytes > self.limit {
            self.lose();
        } else if !self.lost {
            self.kept.push(data.clone());
        }
    }
    fn lose(&mut self) {
        self.lost = true;
        self.kept = Vec::new();
    }
}

impl HttpBody for ReplayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut state = this.replay.lock();
        if state.reader != this.number {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        if let Some(kept) = state.kept.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        if state.ended {
            let trailers = state.trailers.clone().filter(|_| !this.trailers_given);
            this.trailers_given = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let polled = state.read(cx);
        this.at = state.kept.len();
        this.trailers_given = state.ended;
        polled
    }
    fn is_end_stream(&self) -> bool {
        let state = self.replay.lock();
        self.at >= state.kept.len()
            && (state.rest.is_end_stream()
                || (state.ended && (self.trailers_given || state.trailers.is_none())))
    }
    fn size_hint(&self) -> SizeHint {
        let state = self.replay.lock();
        let ahead: u64 = state.kept.iter().skip(self.at).map(|kept| kept.len() as u64).sum();
        let rest = if state.ended { SizeHint::with_exact(0) } else { state.rest.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// Pieces, trailers, an end; an empty piece is "not yet", and `!` an error.
    struct Pieces(VecDeque<&'static str>, Option<HeaderMap>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Cx<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            match self.0.pop_front() {
                Some("") => Poll::Pending,
                Some("!") => Poll::Ready(Some(Err("it broke".into()))),
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece))))),
                None => Poll::Ready(self.1.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            }
        }
    }

    fn body(pieces: &[&'static str]) -> Body {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
        Body::new(Pieces(pieces.iter().copied().collect(), Some(trailers)))
    }

    /// Reads until nothing comes for now; `|` stands for trailers, `.` for the end, `!` for an error.
    fn read(body: &mut ReplayBody) -> String {
        let (mut text, mut cx) = (String::new(), Cx::from_waker(Waker::noop()));
        loop {
            match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Pending => return text,
                Poll::Ready(None) => return text + ".",
                Poll::Ready(Some(Err(_))) => return text + "!",
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                    Err(_) => text.push('|'),
                },
            }
        }
    }

    #[test]
    fn it_comes_again_from_its_beginning_as_far_as_it_was_read() {
        let (replay, mut first) = Replay::new(body(&["ab", "", "cd", "", "ef"]), 100);
        assert_eq!(read(&mut first), "ab");
        let mut second = replay.again().unwrap();
        assert_eq!(read(&mut first), "!", "one at a time");
        assert_eq!(read(&mut second), "abcd");
        assert_eq!(replay.again().map(|mut third| read(&mut third)).unwrap(), "abcdef|.");
        let mut last = replay.again().unwrap();
        assert_eq!(last.size_hint().exact(), Some(6));
        assert!(!last.is_end_stream());
        assert_eq!(read(&mut last), "abcdef|.");
        assert!(last.is_end_stream());
    }

    #[test]
    fn what_is_too_much_or_broken_does_not_come_again() {
        let (replay, mut first) = Replay::new(body(&["abc", "", "de"]), 4);
        assert_eq!(read(&mut first), "abc");
        assert_eq!(read(&mut first), "de|.", "the first is not the worse for it");
        assert!(replay.again().is_none() && !replay.is_whole());
        let (replay, mut first) = Replay::new(body(&["abc", "!"]), 100);
        assert_eq!(read(&mut first), "abc!");
        assert!(replay.again().is_none());
    }

    #[test]
    fn a_length_that_is_known_stays_known() {
        let (replay, mut first) = Replay::new(Body::from("hello"), 100);
        assert_eq!(first.size_hint().exact(), Some(5));
        assert_eq!(read(&mut first), "hello.");
        assert!(first.is_end_stream());
        assert_eq!(replay.again().unwrap().size_hint().exact(), Some(5));
    }
}
