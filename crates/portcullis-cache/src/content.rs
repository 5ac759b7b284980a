//! The bodies of answers, made of what is stored.
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::{Body, BoxError};

use crate::policy::Content;
use crate::store::{CacheStoreError, ReadBody, StoredBody};

impl StoredBody {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Here(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::Elsewhere(body) => body.len(),
        }
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All of it, in memory.
    pub(crate) async fn all(&self) -> Result<Vec<Bytes>, CacheStoreError> {
        let body = match self {
            Self::Here(pieces) => return Ok(pieces.to_vec()),
            Self::Elsewhere(body) => body,
        };
        let mut pieces = Vec::new();
        for number in 0..body.len().div_ceil(body.piece().max(1)) {
            pieces.push(body.read(number).await?);
        }
        Ok(pieces)
    }
}

/// The body of an answer, where all that it is made of is in memory.
pub(crate) fn at_hand(content: &Content, pieces: &[Bytes]) -> Body {
    match (content, pieces) {
        (Content::Nothing, _) => Body::empty(),
        (Content::Whole, [one]) => Body::from(one.clone()),
        (Content::Whole, _) => several(pieces.iter().cloned().collect()),
        (Content::Part(from, until), _) => several(slice(pieces, *from, *until).collect()),
        (Content::Parts(parts, end), _) => {
            let mut all = VecDeque::new();
            for (head, (from, until)) in parts {
                all.push_back(head.clone());
                all.extend(slice(pieces, *from, *until));
            }
            all.push_back(end.clone());
            several(all)
        }
    }
}

/// The body of an answer, wherever it is. Its first bytes are there before the head is sent, so that a store that fails is still a miss.
pub(crate) async fn fetched(
    content: &Content,
    stored: &StoredBody,
) -> Result<Body, CacheStoreError> {
    let body = match stored {
        StoredBody::Here(pieces) => return Ok(at_hand(content, pieces)),
        StoredBody::Elsewhere(body) => body,
    };
    let mut plan = VecDeque::new();
    match content {
        Content::Nothing => return Ok(Body::empty()),
        Content::Whole => plan.push_back(Step::Read(0, body.len())),
        Content::Part(from, until) => plan.push_back(Step::Read(*from, *until)),
        Content::Parts(parts, end) => {
            for (head, (from, until)) in parts {
                plan.push_back(Step::Say(head.clone()));
                plan.push_back(Step::Read(*from, *until));
            }
            plan.push_back(Step::Say(end.clone()));
        }
    }
    let left = plan.iter().map(Step::len).sum();
    let mut fetched = Fetched { body: Arc::clone(body), plan, left, reading: None };
    let first = std::future::poll_fn(|cx| fetched.poll_next(cx)).await;
    Ok(match first.transpose()? {
        None => Body::empty(),
        Some(first) if fetched.left == 0 => Body::from(first),
        Some(first) => {
            fetched.left += first.len() as u64;
            fetched.plan.push_front(Step::Say(first));
            Body::new(fetched)
        }
    })
}

/// Bytes of these pieces: from the first up to, but without, the last.
pub(crate) fn slice(pieces: &[Bytes], from: u64, until: u64) -> impl Iterator<Item = Bytes> {
    let mut at = 0_u64;
    pieces.iter().filter_map(move |piece| {
        let (begin, end) = (at, at + piece.len() as u64);
        at = end;
        let (first, last) = (from.max(begin), until.min(end));
        let range = usize::try_from(first.checked_sub(begin)?).ok()?
            ..usize::try_from(last.checked_sub(begin)?).ok()?;
        (range.start < range.end).then(|| piece.slice(range))
    })
}

fn several(mut pieces: VecDeque<Bytes>) -> Body {
    match (pieces.pop_front(), pieces.is_empty()) {
        (None, _) => Body::empty(),
        (Some(one), true) => Body::from(one),
        (Some(first), false) => {
            let left = pieces.iter().fold(first.len(), |sum, piece| sum + piece.len()) as u64;
            pieces.push_front(first);
            Body::new(Pieces { pieces, left })
        }
    }
}

/// Pieces that are in memory.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.pieces.pop_front();
        self.left -= next.as_ref().map_or(0, |next| next.len() as u64);
        Poll::Ready(next.map(|next| Ok(Frame::data(next))))
    }
    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, CacheStoreError>> + Send>>;

/// Pieces that are fetched from a store.
struct Fetched {
    body: Arc<dyn ReadBody>,
    plan: VecDeque<Step>,
    left: u64,
    reading: Option<Reading>,
}

enum Step {
    Say(Bytes),
    Read(u64, u64),
}

impl Step {
    fn len(&self) -> u64 {
        match self {
            Self::Say(bytes) => bytes.len() as u64,
            Self::Read(from, until) => until.saturating_sub(*from),
        }
    }
}

impl Fetched {
    fn poll_next(&mut self, cx: &mut Cx<'_>) -> Poll<Option<Result<Bytes, CacheStoreError>>> {
        let size = self.body.piece().max(1);
        loop {
            match self.plan.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Say(bytes)) => {
                    self.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Step::Read(from, until)) if from >= until => {}
                Some(Step::Read(from, until)) => {
                    let reading = self.reading.get_or_insert_with(|| {
                        let body = Arc::clone(&self.body);
                        Box::pin(async move { body.read(from / size).await })
                    });
                    let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                        self.plan.push_front(Step::Read(from, until));
                        return Poll::Pending;
                    };
                    self.reading = None;
                    let read = read.and_then(|piece| {
                        let begin = from % size;
                        let end = (piece.len() as u64).min(begin + (until - from));
                        let range = usize::try_from(begin).ok()..usize::try_from(end).ok();
                        match (range.start, range.end) {
                            (Some(begin), Some(end)) if begin < end => Ok(piece.slice(begin..end)),
                            _ => Err(CacheStoreError("a piece of a body is too short".into())),
                        }
                    });
                    let read = match read {
                        Ok(read) => read,
                        Err(error) => {
                            self.plan.clear();
                            return Poll::Ready(Some(Err(error)));
                        }
                    };
                    let len = read.len() as u64;
                    self.left -= len;
                    self.plan.push_front(Step::Read(from + len, until));
                    return Poll::Ready(Some(Ok(read)));
                }
            }
        }
    }
}

impl HttpBody for Fetched {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = ready!(self.poll_next(cx));
        Poll::Ready(next.map(|next| next.map(Frame::data).map_err(Into::into)))
    }
    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_the_bytes_that_were_asked_for_and_no_others() {
        let pieces = [Bytes::from("abc"), Bytes::from("defg"), Bytes::from("h")];
        let whole = b"abcdefgh";
        for from in 0..=8_usize {
            for until in from..=8 {
                let got: Vec<u8> = slice(&pieces, from as u64, until as u64).flatten().collect();
                assert_eq!(got, &whole[from..until], "{from}..{until}");
            }
        }
    }
}
