//! Several ranges in one answer (RFC 9110, section 14.6).
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use bytes::Bytes;
use http::HeaderValue;

use super::range::{self, Span};

/// The parts of a `multipart/byteranges`.
pub(super) struct Multipart {
    /// The `Content-Type` of the answer.
    pub(super) content_type: HeaderValue,
    /// What precedes each part.
    pub(super) heads: Vec<Bytes>,
    /// What follows the last.
    pub(super) end: Bytes,
}

impl Multipart {
    /// `content_type` is that of the representation.
    pub(super) fn new(
        spans: &[Span],
        total: Option<u64>,
        content_type: Option<&HeaderValue>,
    ) -> Self {
        Self::with_boundary(&boundary(), spans, total, content_type)
    }
    fn with_boundary(
        boundary: &str,
        spans: &[Span],
        total: Option<u64>,
        content_type: Option<&HeaderValue>,
    ) -> Self {
        let head = |(nth, &span): (usize, &Span)| {
            let mut head = Vec::with_capacity(160);
            // The line break belongs to the boundary, not to the part before it.
            head.extend_from_slice(if nth == 0 { b"--" } else { b"\r\n--" });
            head.extend_from_slice(boundary.as_bytes());
            if let Some(content_type) = content_type {
                head.extend_from_slice(b"\r\nContent-Type: ");
                head.extend_from_slice(content_type.as_bytes());
            }
            head.extend_from_slice(b"\r\nContent-Range: ");
            head.extend_from_slice(range::text(span, total).as_bytes());
            head.extend_from_slice(b"\r\n\r\n");
            Bytes::from(head)
        };
        let text = format!("multipart/byteranges; boundary={boundary}");
        Self {
            // A boundary is hexadecimal digits.
            content_type: HeaderValue::try_from(text)
                .unwrap_or(HeaderValue::from_static("multipart/byteranges")),
            heads: spans.iter().enumerate().map(head).collect(),
            end: Bytes::from(format!("\r\n--{boundary}--\r\n")),
        }
    }
}

/// 128 bits that nobody can guess who writes a body: keyed hashes, with keys from the operating system.
fn boundary() -> String {
    let keys = RandomState::new();
    format!("{:016x}{:016x}", keys.hash_one(0_u8), keys.hash_one(1_u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_parts() {
        let text = HeaderValue::from_static("text/plain");
        let parts = Multipart::with_boundary("b", &[(0, 2), (5, 6)], Some(10), Some(&text));
        assert_eq!(parts.content_type, "multipart/byteranges; boundary=b");
        assert_eq!(
            parts.heads[0],
            "--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n"
        );
        assert_eq!(
            parts.heads[1],
            "\r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-5/10\r\n\r\n"
        );
        assert_eq!(parts.end, "\r\n--b--\r\n");
        let parts = Multipart::with_boundary("b", &[(0, 2)], None, None);
        assert_eq!(parts.heads[0], "--b\r\nContent-Range: bytes 0-1/*\r\n\r\n");
    }

    #[test]
    fn no_two_boundaries_are_alike() {
        let one = boundary();
        assert_eq!(one.len(), 32);
        assert_ne!(one, boundary());
        assert_ne!(one.get(..16), one.get(16..));
    }
}
