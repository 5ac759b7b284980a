//! The one spelling of a host.
use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::{Scheme, TargetError};

/// A checked authority: the canonical text, and where the host ends in it.
pub(super) struct Checked<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) host_len: usize,
    pub(super) port: Option<u16>,
}

impl Checked<'_> {
    /// Whether the text came in its canonical spelling.
    pub(super) fn is_as_given(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }
}

/// Checks `host[":" port]` (RFC 3986, section 3.2): lower case, no dot at the end, no default port. User information,
/// lists, spaces and escapes are refused.
pub(super) fn check(text: &str, scheme: Scheme) -> Result<Checked<'_>, TargetError> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = if let Some((inside, port)) = bracketed {
        (v6(inside)?, port)
    } else {
        let Name { len, has_upper } = scan(text).ok_or(TargetError::BadHost)?;
        let (name, port) = text.split_at(len);
        let name = name.strip_suffix('.').unwrap_or(name);
        (if has_upper { name.to_ascii_lowercase().into() } else { name.into() }, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(TargetError::BadHost),
        Some("") => None,
        Some(digits) => Some(parse_port(digits)?),
    };
    let port = port.filter(|&port| port != scheme.default_port());
    let host_len = host.len();
    let text = match port {
        // The common case: what came is canonical already.
        None if host_len == text.len() => host,
        None => Cow::Owned(host.into_owned()),
        Some(port) => {
            let is_canonical = matches!(host, Cow::Borrowed(_))
                && text.get(host_len + 1..).is_some_and(|digits| !digits.starts_with('0'))
                && text.as_bytes().get(host_len) == Some(&b':');
            if is_canonical { Cow::Borrowed(text) } else { Cow::Owned(format!("{host}:{port}")) }
        }
    };
    Ok(Checked { text, host_len, port })
}

fn parse_port(digits: &str) -> Result<u16, TargetError> {
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits.parse().ok().filter(|&port| all_digits && port != 0);
    port.ok_or(TargetError::BadHost)
}

/// A name of labels with dots between them, and perhaps one at its end.
struct Name {
    len: usize,
    has_upper: bool,
}

/// Reads the name at the beginning of `text`, up to a colon, in one look: this runs for every request.
fn scan(text: &str) -> Option<Name> {
    let (mut len, mut has_upper, mut in_label) = (0, false, false);
    for byte in text.bytes().take_while(|byte| *byte != b':') {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => in_label = true,
            b'A'..=b'Z' => (in_label, has_upper) = (true, true),
            b'.' if in_label => in_label = false,
            _ => return None,
        }
        len += 1;
    }
    // Labels are never empty, so a name that does not end in one ends in its only dot.
    (1..=253).contains(&len).then_some(Name { len, has_upper })
}

/// An IPv6 address in brackets.
fn v6(inside: &str) -> Result<Cow<'_, str>, TargetError> {
    let address: Ipv6Addr = inside.parse().map_err(|_| TargetError::BadHost)?;
    Ok(format!("[{address}]").into())
}
