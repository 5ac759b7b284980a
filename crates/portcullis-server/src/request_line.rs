//! The beginning of a request, looked at while hyper has not read it: hyper says that a head is too large, but not what of it.
use crate::screen::METHOD_BYTES;

/// What is known of the request line that is being read.
#[derive(Debug, Default)]
pub(crate) struct RequestLine {
    long_method: Option<bool>,
    ended: bool,
}

/// What of a head that is too large is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Method,
    Target,
    Headers,
}

impl RequestLine {
    /// More of it came, or of what follows it. Costs a look through the line once.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        if self.long_method.is_none() {
            let method = bytes.get(..=METHOD_BYTES);
            self.long_method = Some(method.is_some_and(|method| !method.contains(&b' ')));
        }
        // Empty lines in front of a request are none of it.
        let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let line = begins.and_then(|at| bytes.get(at..)).unwrap_or_default();
        self.ended = line.contains(&b'\n');
    }
    /// Where the head is so large that it cannot be read.
    pub(crate) fn to_blame(&self) -> Part {
        match self {
            Self { long_method: Some(true), .. } => Part::Method,
            Self { ended: false, .. } => Part::Target,
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
}
