//! Bodies, as the pieces in which they come and are stored.
use std::future::poll_fn;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response;
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};

use crate::content;
use crate::policy::{Source, Stored};

/// Into pieces of how many bytes bodies are put together.
const PIECE: usize = 1 << 18;

/// Two parts of one thing, put together.
pub(crate) fn combined(
    old: &Stored,
    old_pieces: &[Bytes],
    new: &Stored,
    new_pieces: &[Bytes],
) -> Option<(Stored, Vec<Bytes>)> {
    let len = |pieces: &[Bytes]| pieces.iter().map(|piece| piece.len() as u64).sum();
    let combined = old.combine(len(old_pieces), new, len(new_pieces))?;
    let pieces = combined.pieces.iter().flat_map(|(source, from, until)| {
        let of = if *source == Source::Old { old_pieces } else { new_pieces };
        content::slice(of, *from, *until)
    });
    let pieces = pieces.collect();
    Some((combined.head, pieces))
}

/// Copies what arrived into pieces of its own: as it arrived, each piece may keep the larger buffer alive that it was read into.
pub(crate) fn tidy(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut tidy: Vec<Bytes> = Vec::new();
    let mut left: usize = pieces.iter().map(Bytes::len).sum();
    let mut now: Vec<u8> = Vec::with_capacity(left.min(PIECE));
    for mut piece in pieces {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE - now.len()));
            now.extend_from_slice(&part);
            left -= part.len();
            if now.len() == PIECE || left == 0 {
                let next = Vec::with_capacity(left.min(PIECE));
                tidy.push(std::mem::replace(&mut now, next).into());
            }
        }
    }
    tidy
}

/// How long the body is, as far as that is known beforehand.
pub(crate) fn declared(head: &response::Parts, body: &Body) -> Option<u64> {
    let said = head.headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    said.or_else(|| body.size_hint().exact())
}

/// The next data of a body.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, BoxError> {
    loop {
        let frame = poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await;
        match frame.transpose()?.map(http_body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            Some(Err(_)) => {}
        }
    }
}

/// All of a body, where it is complete and no longer than `most`.
pub(crate) async fn collect(body: &mut Body, most: u64) -> Option<Vec<Bytes>> {
    let (mut pieces, mut len) = (Vec::new(), 0);
    while let Some(data) = next(body).await.ok()? {
        len += data.len() as u64;
        if len > most {
            return None;
        }
        pieces.push(data);
    }
    Some(pieces)
}

pub(crate) async fn drain(mut body: Body) {
    while let Ok(Some(_)) = next(&mut body).await {}
}
