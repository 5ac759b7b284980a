//! Which stored response fits a request (RFC 9111, sections 4 and 4.1).
use std::borrow::Cow;

use http::header::{
    ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::{Asked, NotStored, Stored};
use crate::store::Entry;

/// What a request says in the fields that `Vary` names, sorted by name.
pub(super) type Varied = SmallVec<[(HeaderName, Option<Box<str>>); 2]>;

/// Reads `Vary`, and what the request says to it.
pub(super) fn capture(headers: &HeaderMap, asked: &HeaderMap) -> Result<Varied, NotStored> {
    let mut varied = Varied::new();
    let members =
        headers.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        if member == b"*" {
            return Err(NotStored::VaryStar);
        }
        let name = HeaderName::from_bytes(member).map_err(|_| NotStored::Malformed)?;
        if !varied.iter().any(|(known, _)| *known == name) {
            let value = normal(&name, asked).map(|value| value.into_owned().into_boxed_str());
            varied.push((name, value));
        }
    }
    varied.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    Ok(varied)
}

/// All lines of a field in one spelling, so that what means the same is the same. Bytes are kept as the characters of that number.
fn normal<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    // What says who somebody is, is taken to the letter. No value has a line feed.
    let is_exact = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    let is_caseless = [ACCEPT_LANGUAGE, ACCEPT_ENCODING, ACCEPT_CHARSET].contains(name);
    let mut text = String::new();
    for (number, line) in std::iter::once(first).chain(lines).enumerate() {
        if number > 0 {
            text.push(if is_exact { '\n' } else { ',' });
        }
        if is_exact {
            text.extend(line.as_bytes().iter().map(|byte| char::from(*byte)));
        } else {
            squeeze(line, &mut text);
        }
    }
    if is_caseless {
        text.make_ascii_lowercase();
    }
    Some(Cow::Owned(text))
}

/// Leaves out the blanks at both ends and around commas, but for those within quotes.
fn squeeze(line: &HeaderValue, text: &mut String) {
    let (mut is_quoted, mut is_escaped, mut is_start) = (false, false, true);
    let start = text.len();
    for byte in line.as_bytes().trim_ascii() {
        let is_blank = matches!(byte, b' ' | b'\t');
        if is_start && is_blank {
            continue;
        }
        is_start = false;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let end = text.trim_end_matches([' ', '\t']).len().max(start);
                text.truncate(end);
                is_start = true;
            }
            _ => {}
        }
        text.push(char::from(*byte));
    }
}

impl Stored {
    /// Whether a request says the same as that which was answered, in the fields that `Vary` names.
    pub fn matches(&self, asked: Asked<'_>) -> bool {
        self.vary.iter().all(|(name, want)| {
            let mut lines = asked.headers.get_all(name).iter();
            match (lines.next(), want) {
                (None, None) => true,
                (Some(line), Some(want)) => {
                    // What is spelled normally needs no second look.
                    let is_plain = lines.next().is_none()
                        && want.is_ascii()
                        && line.as_bytes() == want.as_bytes();
                    is_plain || normal(name, asked.headers).as_deref() == Some(want)
                }
                _ => false,
            }
        })
    }
}

/// The entry that answers a request: the newest by `Date`. A whole response comes before a part, and a part answers only where it has the bytes that are asked for.
pub fn select(entries: &[Entry], asked: Asked<'_>) -> Option<usize> {
    let is_whole = |entry: &Entry| entry.head.status != StatusCode::PARTIAL_CONTENT;
    let fitting = entries.iter().enumerate().filter(|(_, entry)| {
        entry.head.matches(asked)
            && (is_whole(entry) || entry.head.answers_part(asked, entry.body.len()))
    });
    // Of those that are equal the first is taken: stores have the newest first.
    fitting
        .rev()
        .max_by_key(|(_, entry)| (is_whole(entry), entry.head.facts.date))
        .map(|(at, _)| at)
}
