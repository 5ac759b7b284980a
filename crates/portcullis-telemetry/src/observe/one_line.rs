//! Text of others, as it may stand in a log.
use std::error::Error;
use std::fmt::{self, Write};

use portcullis_core::{Decision, TraceContext};

/// How much of one text goes into the log, in bytes, once it is escaped. A client writes the path and the method.
const LONGEST: usize = 1_024;

/// The text as a field of the log: on one line, and cut where it is longer than anybody reads.
pub(super) fn line(text: impl fmt::Display) -> String {
    let mut line = Cut(String::new());
    // It stops by an error when there is enough.
    if write!(line, "{}", OneLine(text)).is_err() {
        line.0.push('…');
    }
    line.0
}

struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() >= LONGEST {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

/// Shows the text on one line: what would break it, look like a blank, or reorder it on a screen, is escaped.
struct OneLine<T>(T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| is_unsafe(*c)) {
            self.0.write_str(text.get(plain..at).unwrap_or_default())?;
            write!(self.0, "{}", c.escape_default())?;
            plain = at + c.len_utf8();
        }
        self.0.write_str(text.get(plain..).unwrap_or_default())
    }
}

/// Controls, every blank but the space, what has no width or changes the direction of writing, and the sign that an
/// escape begins with.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            c,
            '\\' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// An error and everything that led to it.
pub(super) struct Chain<'a>(pub(super) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// Verdict and reason.
pub(super) struct Decided<'a>(pub(super) &'a Decision);

impl fmt::Display for Decided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.verdict(), self.0.reason())
    }
}

/// The id of the whole trace, in hexadecimal digits.
pub(super) struct TraceId(pub(super) TraceContext);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.trace_id())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::BoxError;

    use super::*;

    #[derive(Debug)]
    struct Wrapped(&'static str, Option<BoxError>);
    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as _)
        }
    }

    #[test]
    fn what_breaks_a_line_is_escaped_and_nothing_else() {
        for (text, want) in [
            ("", ""),
            ("plain, \"quoted\", é", "plain, \"quoted\", é"),
            ("not a line break: \\n", "not a line break: \\\\n"),
            (
                "no\u{a0}blank\u{3000}but\u{200b}the\u{feff}space",
                "no\\u{a0}blank\\u{3000}but\\u{200b}the\\u{feff}space",
            ),
            ("a\r\nb\n", "a\\r\\nb\\n"),
            ("\u{1b}[31mred\u{0}", "\\u{1b}[31mred\\u{0}"),
            ("x\u{85}y\u{2028}z\u{202e}", "x\\u{85}y\\u{2028}z\\u{202e}"),
        ] {
            assert_eq!(OneLine(text).to_string(), want, "{text:?}");
        }
    }

    #[test]
    fn what_nobody_reads_is_cut() {
        assert_eq!(line("x".repeat(1_024)), "x".repeat(1_024));
        let cut = line("\n".repeat(400_000));
        assert!(cut.len() < 1_030 && cut.ends_with('…'), "{}", cut.len());
    }

    #[test]
    fn a_chain_shows_every_error_in_it() {
        let error = Wrapped("top", Some(Box::new(Wrapped("middle", Some("bottom".into())))));
        assert_eq!(Chain(&error).to_string(), "top: middle: bottom");
    }
}
