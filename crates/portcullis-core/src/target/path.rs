//! The one spelling of a path.
use std::borrow::Cow;

use super::{Slash, TargetError, TargetRules};

/// The one spelling of `path`: dot segments resolved, unreserved characters decoded, everything that is not allowed
/// to stand raw encoded in upper case (RFC 3986, section 6.2.2). What could be read in two ways is refused.
///
/// Normalising the result again changes nothing.
pub fn canonical_path<'a>(path: &'a str, rules: &TargetRules) -> Result<Cow<'a, str>, TargetError> {
    if !path.starts_with('/') {
        return Err(TargetError::NotAbsolute);
    }
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let spelled = spell(path.as_bytes(), rules)?;
    resolve(&spelled, rules).map(Cow::Owned)
}

/// Whether `path` is canonical at first sight: nothing in it needs a second look.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|&byte| {
        let plain = is_plain_byte(byte) && !(before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        plain
    })
}

/// What may stand raw in a path and is no parameter: `pchar` of RFC 3986 but for `;` and `%`, and the slash.
fn is_plain_byte(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// A table, since this is asked for every byte of every path.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    loop {
        let other = matches!(
            byte,
            b'/' | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        );
        #[expect(clippy::indexing_slicing, reason = "there is a place for every byte")]
        {
            plain[byte as usize] = other || is_unreserved(byte);
        }
        if byte == u8::MAX {
            break plain;
        }
        byte += 1;
    }
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Gives every character its one spelling.
fn spell(path: &[u8], rules: &TargetRules) -> Result<String, TargetError> {
    let mut spelled = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&raw) = rest.next() {
        let (byte, escaped) = if raw == b'%' {
            let mut digit = || rest.next().copied().and_then(hex_digit);
            let (high, low) = (digit(), digit());
            let (Some(high), Some(low)) = (high, low) else { return Err(TargetError::BadEscape) };
            (high << 4 | low, true)
        } else {
            (raw, false)
        };
        decoded.push(byte);
        match byte {
            b'/' if escaped && rules.encoded_slash == Slash::Refused => {
                return Err(TargetError::EncodedSlash);
            }
            b'\\' => return Err(TargetError::Backslash),
            b';' if !rules.parameters => return Err(TargetError::Parameter),
            0..=0x1f | 0x7f => return Err(TargetError::Control),
            // Raw, these end or break a request target; encoded, they are data.
            b' ' | b'#' | b'?' | 0x80.. if !escaped => return Err(TargetError::NotAllowed),
            _ if is_unreserved(byte) => spelled.push(byte.into()),
            _ if !escaped && (is_plain_byte(byte) || byte == b';') => spelled.push(byte.into()),
            _ => encode(byte, &mut spelled),
        }
    }
    // Names are text: what is no UTF-8, or breaks a line somewhere, has no place in one.
    let text = std::str::from_utf8(&decoded).map_err(|_| TargetError::NotText)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(TargetError::Control);
    }
    Ok(spelled)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn encode(byte: u8, spelled: &mut String) {
    spelled.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        spelled.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
    }
}

/// Resolves `.` and `..` (RFC 3986, section 5.2.4), and refuses to climb above the root.
fn resolve(path: &str, rules: &TargetRules) -> Result<String, TargetError> {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." && out.pop().is_none() {
                    return Err(TargetError::AboveRoot);
                }
                if last {
                    out.push("");
                }
            }
            "" if !last && rules.empty_segments == Slash::Refused => {
                return Err(TargetError::EmptySegment);
            }
            "" if !last && rules.empty_segments == Slash::Merged => {}
            _ if hides_dots(segment) => return Err(TargetError::HiddenDots),
            _ => out.push(segment),
        }
    }
    Ok(format!("/{}", out.join("/")))
}

/// Whether a reader who splits this segment further (at `%2F`, or before a parameter) would find dot segments in it.
fn hides_dots(segment: &str) -> bool {
    let name = |part: &str| {
        part.split(';').next().and_then(|part| part.split("%3B").next()).map(str::to_owned)
    };
    segment.split("%2F").any(|part| matches!(name(part).as_deref(), Some("." | "..")))
}

/// The same path with its encoded reserved characters decoded, when it has any: another spelling that some readers
/// take for the same. `%2F`, `%3F`, `%23` and `%25` keep their meaning and stay.
pub(crate) fn other_spelling(path: &str) -> Option<String> {
    if !path.contains('%') {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    let mut found = false;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (digits, tail) = after.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte != b'/' && (is_plain_byte(byte) || byte == b';') {
            found = true;
            out.push(byte.into());
        } else {
            out.push('%');
            out.push_str(digits);
        }
        rest = tail;
    }
    out.push_str(rest);
    found.then_some(out)
}
