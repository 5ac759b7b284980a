//! What hyper answers by itself, in our own words.
//!
//! A request that hyper cannot read never reaches a service: hyper writes a bare status and closes. The wire sees that, and
//! puts a problem with the standard headers and a request id in its place.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use portcullis_core::problem::{ProblemKind, kinds};
use portcullis_core::{Body, Connection, Problem};

use crate::frames::Flood;
use crate::informational::write_headers;
use crate::refusal::refuse;
use crate::request_line::Part;
use crate::stats::{Ending, Stats};

/// Answers in place of hyper.
pub(crate) struct Redress {
    connection: Connection,
    stats: Stats,
}

impl Redress {
    pub(crate) fn new(connection: Connection, stats: Stats) -> Self {
        Self { connection, stats }
    }
    /// Our words for `bytes`, if they begin an error of hyper's. `part` is to blame where it is one of size.
    pub(crate) fn answer(&self, bytes: &[u8], part: Part) -> Option<Bytes> {
        let status = bytes.strip_prefix(b"HTTP/1.1 ").or(bytes.strip_prefix(b"HTTP/1.0 "))?;
        let (kind, detail) = match status.get(..3)? {
            b"431" if part == Part::Method => (kinds::REQUEST_INVALID, "the method is too long"),
            b"431" if part == Part::Target => {
                (kinds::TARGET_TOO_LONG, "the request target is too long")
            }
            b"414" => (kinds::TARGET_TOO_LONG, "the request target is too long"),
            b"431" => (kinds::HEADERS_TOO_LARGE, "the request has too many or too large headers"),
            b"505" => (kinds::VERSION_UNSUPPORTED, "this server speaks HTTP/1 and HTTP/2"),
            [b'4', ..] => (kinds::REQUEST_INVALID, "the request is not valid HTTP/1.1"),
            _ => return None,
        };
        self.stats.ended(Ending::NotHttp);
        Some(self.closing(kind, detail))
    }
    /// The answer to a request whose head did not come in time.
    pub(crate) fn timed_out(&self) -> Bytes {
        self.closing(kinds::REQUEST_TIMEOUT, "the request did not come in time")
    }
    pub(crate) fn flooded(&self, flood: Flood) {
        self.stats.ended(Ending::Flood);
        let peer = self.connection.peer().map(tracing::field::display);
        tracing::warn!(peer, flood = flood.label(), "closed an HTTP/2 connection: {flood}");
    }

    fn closing(&self, kind: ProblemKind, detail: &'static str) -> Bytes {
        let mut request = Request::new(());
        let problem = Problem::new(kind).detail(detail);
        written(refuse(&mut request, problem, &self.connection))
    }
}

/// The bytes of an answer whose body is at hand.
fn written(response: Response<Body>) -> Bytes {
    let (head, mut body) = response.into_parts();
    let mut cx = Cx::from_waker(Waker::noop());
    let mut content = Bytes::new();
    if let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
        content = frame.into_data().unwrap_or_default();
    }
    let mut bytes =
        format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", head.status, content.len()).into_bytes();
    write_headers(&mut bytes, &head.headers);
    bytes.extend_from_slice(&content);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_hyper_become_problems_and_nothing_else_does() {
        let redress = Redress::new(Connection::new(None), Stats::default());
        for (bytes, want) in [
            ("HTTP/1.1 400 Bad Request\r\n", Some("HTTP/1.1 400 Bad Request\r\n")),
            ("HTTP/1.1 414 URI Too Long\r\n", Some("HTTP/1.1 414 URI Too Long\r\n")),
            ("HTTP/1.1 431 R\r\n", Some("HTTP/1.1 431 Request Header Fields Too Large\r\n")),
            ("HTTP/1.1 200 OK\r\n", None),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("40", None),
        ] {
            let answer = redress.answer(bytes.as_bytes(), Part::Headers);
            let text = answer.map(|answer| String::from_utf8(answer.to_vec()).unwrap());
            assert_eq!(text.is_some(), want.is_some(), "{bytes}");
            if let (Some(text), Some(want)) = (text, want) {
                assert!(text.starts_with(want), "{text}");
                assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
                assert!(text.contains("\r\nx-content-type-options: nosniff\r\n"), "{text}");
                assert!(text.contains("application/problem+json"), "{text}");
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
            }
        }
    }
}
