//! The head of a request, looked at while hyper has not read it: hyper says that a head is too large, but not what of it; and of two
//! statements about where a message ends it shows one.
use memchr::{memchr, memchr_iter};

use crate::limits::Limits;

/// What is known of the head that is being read.
#[derive(Debug, Default)]
pub(crate) struct RequestLine {
    stage: Stage,
    long_method: Option<bool>,
    /// How the line begins that is being read, and how much of that is known.
    begin: [u8; NAME],
    known: usize,
    transfer_encoding: bool,
    content_length: bool,
}

/// How far the head is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    RequestLine,
    Headers,
    Over,
}

/// As much of a line as tells the two headers apart from all others.
const NAME: usize = "transfer-encoding:".len();

/// What of a head that is too large is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Method,
    Target,
    Headers,
}

impl RequestLine {
    /// More of it came, or of what follows it. Costs one look through the head.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.long_method.is_none() {
            let method = bytes.get(..=Limits::METHOD_BYTES);
            self.long_method = Some(method.is_some_and(|method| !method.contains(&b' ')));
        }
        if self.stage != Stage::Over {
            self.lines(bytes);
        }
    }
    fn lines(&mut self, mut bytes: &[u8]) {
        if self.known > 0 {
            // The rest of a line that another piece began.
            let end = memchr(b'\n', bytes);
            self.begin(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
            let Some(end) = end else { return };
            let (begin, known) = (self.begin, std::mem::take(&mut self.known));
            self.line(begin.get(..known).unwrap_or_default());
            bytes = bytes.get(end + 1..).unwrap_or_default();
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            if self.stage == Stage::Over {
                return;
            }
            self.line(bytes.get(start..end).unwrap_or_default());
            start = end + 1;
        }
        self.begin(bytes.get(start..).unwrap_or_default());
    }
    /// Remembers how a line begins that is not all there.
    fn begin(&mut self, part: &[u8]) {
        let part = part.get(..part.len().min(NAME - self.known)).unwrap_or_default();
        if let Some(place) = self.begin.get_mut(self.known..self.known + part.len()) {
            place.copy_from_slice(part);
            self.known += part.len();
        }
    }
    /// A whole line, or as much of it as matters.
    #[inline]
    fn line(&mut self, line: &[u8]) {
        let is = |name: &[u8]| {
            line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        match (self.stage, line) {
            // Empty lines in front of a request are none of it.
            (Stage::RequestLine, [] | [b'\r']) | (Stage::Over, _) => {}
            (Stage::RequestLine, _) => self.stage = Stage::Headers,
            (Stage::Headers, [] | [b'\r']) => self.stage = Stage::Over,
            (Stage::Headers, [b't' | b'T', ..]) => {
                self.transfer_encoding |= is(b"transfer-encoding:");
            }
            (Stage::Headers, [b'c' | b'C', ..]) => self.content_length |= is(b"content-length:"),
            (Stage::Headers, _) => {}
        }
    }
    /// Whether the head says in two ways where the message ends.
    pub(crate) fn has_two_ends(&self) -> bool {
        self.transfer_encoding && self.content_length
    }
    /// Where the head is so large that it cannot be read.
    pub(crate) fn to_blame(&self) -> Part {
        match self {
            Self { long_method: Some(true), .. } => Part::Method,
            Self { stage: Stage::RequestLine, .. } => Part::Target,
            Self { .. } => Part::Headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_named() {
        let long = "a".repeat(100);
        for (pieces, want) in [
            (vec!["GET / HTTP/1.1\r\nx: ", &long], Part::Headers),
            (vec!["\r\nGET / HT", "TP/1.1\r\n", "x: ", &long], Part::Headers),
            (vec!["GET /", &long, &long], Part::Target),
            (vec!["G", "ET /", &long], Part::Target),
            (vec![&long, "GET / HTTP/1.1"], Part::Method),
        ] {
            let mut line = RequestLine::default();
            for piece in &pieces {
                line.feed(piece.as_bytes());
            }
            assert_eq!(line.to_blame(), want, "{pieces:?}");
        }
    }

    #[test]
    fn two_ends_are_seen_in_the_head_and_nowhere_else() {
        for (text, want) in [
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n", true),
            ("\r\nPOST / HTTP/1.1\nCONTENT-LENGTH:5\nx: y\ntransfer-encoding:chunked\n\n", true),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 5\r\n", false),
            ("POST / HTTP/1.1\r\ncontent-length: 5\r\nx-transfer-encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\ncontent-length-x: 5\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ] {
            for step in [1, 7, 1_000] {
                let mut line = RequestLine::default();
                text.as_bytes().chunks(step).for_each(|piece| line.feed(piece));
                assert_eq!(line.has_two_ends(), want, "{text:?} by {step}");
            }
        }
    }
}
