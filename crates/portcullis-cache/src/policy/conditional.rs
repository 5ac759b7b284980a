//! The preconditions of a request, and `If-Range` (RFC 9110, section 13; RFC 9111, section 4.3.2).
use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Asked, Stored, date};

/// What follows from the preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They hold: the answer is that of a request without them.
    Holds,
    /// The client has it already: 304.
    NotModified,
    /// 412.
    Failed,
}

/// In the order of section 13.2.2. What a stored response cannot tell, for want of a validator, is taken to hold: a cache may ignore `If-Match` and
/// `If-Unmodified-Since`.
pub(super) fn check(stored: &Stored, asked: Asked<'_>) -> Verdict {
    let ours = &stored.headers;
    if !stored.status.is_success() {
        return Verdict::Holds;
    }
    let tag = ours.get(ETAG).map(Tag::read);
    if asked.headers.contains_key(IF_MATCH) {
        if let Some(tag) = tag {
            let fits = lists(asked.headers, &IF_MATCH, |theirs| {
                theirs.is_any() || theirs.is_strongly(tag)
            });
            if !fits {
                return Verdict::Failed;
            }
        }
    } else if let Some(since) = date_of(asked.headers, &IF_UNMODIFIED_SINCE)
        && date_of(ours, &LAST_MODIFIED).is_some_and(|modified| modified > since)
    {
        return Verdict::Failed;
    }
    if asked.headers.contains_key(IF_NONE_MATCH) {
        let fits =
            |theirs: Tag<'_>| theirs.is_any() || tag.is_some_and(|tag| theirs.is_weakly(tag));
        return match lists(asked.headers, &IF_NONE_MATCH, fits) {
            false => Verdict::Holds,
            true if is_read(asked.method) => Verdict::NotModified,
            true => Verdict::Failed,
        };
    }
    if is_read(asked.method)
        && let Some(since) = date_of(asked.headers, &IF_MODIFIED_SINCE)
    {
        let dated = date_of(ours, &LAST_MODIFIED).or_else(|| date_of(ours, &DATE));
        let changed = dated.unwrap_or(stored.times.received.0 / 1000);
        if changed <= since {
            return Verdict::NotModified;
        }
    }
    Verdict::Holds
}

/// Whether `If-Range` lets the `Range` beside it be followed (section 13.1.5): it has to name what is stored, strongly.
pub(super) fn if_range(stored: &HeaderMap, asked: &HeaderMap) -> bool {
    let mut values = asked.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    match read_date(value) {
        Some(asked) => strong_date(stored) == Some(asked),
        None => stored.get(ETAG).is_some_and(|tag| Tag::read(tag).is_strongly(Tag::read(value))),
    }
}

/// A validator that stands for every byte of a representation (section 8.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strong<'a>(&'a [u8], Option<u64>);

/// The strong validator of a stored response: its entity tag, or where it has none the time of its last change, if it was older than a second when it was
/// sent (section 8.8.2.2).
pub(super) fn strong(headers: &HeaderMap) -> Option<(Strong<'_>, &HeaderValue)> {
    match headers.get(ETAG) {
        Some(value) => {
            Tag::read(value).is_strong().then(|| (Strong(value.as_bytes(), None), value))
        }
        None => Some((Strong(b"", Some(strong_date(headers)?)), headers.get(LAST_MODIFIED)?)),
    }
}

fn strong_date(headers: &HeaderMap) -> Option<u64> {
    let modified = date_of(headers, &LAST_MODIFIED)?;
    (date_of(headers, &DATE)? > modified).then_some(modified)
}

fn is_read(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "QUERY")
}

/// Seconds since 1970.
fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    read_date(headers.get(name)?)
}

fn read_date(value: &HeaderValue) -> Option<u64> {
    date::parse(value.to_str().ok()?)
}

/// An entity tag, read leniently: what lacks its quotes is taken as it is, and is weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    opaque: &'a [u8],
    is_quoted: bool,
    is_weak: bool,
}

impl<'a> Tag<'a> {
    fn read(value: &'a HeaderValue) -> Self {
        Self::of(value.as_bytes())
    }
    fn of(text: &'a [u8]) -> Self {
        let text = text.trim_ascii();
        let (text, is_weak) = match text.strip_prefix(b"W/").or_else(|| text.strip_prefix(b"w/")) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
            Some(opaque) => Self { opaque, is_quoted: true, is_weak },
            None => Self { opaque: text, is_quoted: false, is_weak },
        }
    }
    fn is_any(self) -> bool {
        !self.is_quoted && !self.is_weak && self.opaque == b"*"
    }
    fn is_strong(self) -> bool {
        self.is_quoted && !self.is_weak
    }
    fn is_strongly(self, other: Self) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }
    fn is_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// Whether one of the tags that a field lists fits.
fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName, fits: impl Fn(Tag<'a>) -> bool) -> bool {
    headers.get_all(name).iter().any(|value| {
        // A comma within quotes parts nothing. A tag has no escapes.
        let mut is_quoted = false;
        let parts = value.as_bytes().split(move |&byte| {
            is_quoted ^= byte == b'"';
            byte == b',' && !is_quoted
        });
        parts.filter(|part| !part.trim_ascii().is_empty()).any(|part| fits(Tag::of(part)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{START_DATE, asked, headers, stored};
    use super::*;
    use Verdict::{Failed, Holds, NotModified};

    const BEFORE: &str = "Tue, 31 Dec 2024 00:00:00 GMT";
    const BEFORE_850: &str = "Tuesday, 31-Dec-24 00:00:00 GMT";
    const AFTER: &str = "Thu, 02 Jan 2025 00:00:00 GMT";

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn verdict(method: &Method, ours: Fields<'_>, theirs: Fields<'_>) -> Verdict {
        check(&stored(200, ours), asked(method, &headers(theirs)))
    }

    #[test]
    fn compares_tags() {
        let rows = [
            ("\"a\"", "\"a\"", NotModified),
            ("\"a\"", "\"b\"", Holds),
            ("\"a\"", "W/\"a\"", NotModified),
            ("W/\"a\"", "\"a\"", NotModified),
            ("\"a\"", "*", NotModified),
            ("\"a\"", "\"*\"", Holds),
            ("\"a\"", "\"x\", \"a\" ,\"y\"", NotModified),
            ("\"a,b\"", "\"x\",\"a,b\"", NotModified),
            ("\"a,b\"", "\"a\",\"b\"", Holds),
            ("\"a\"", "a", NotModified),
            ("a", "\"a\"", NotModified),
            ("w/\"a\"", "w/\"a\"", NotModified),
            ("W\"a\"", "W\"a\"", NotModified),
            ("\"\u{fc}\"", "\"\u{fc}\"", NotModified),
            ("\"a\"", "\"A\"", Holds),
            ("\"a\"", "", Holds),
        ];
        for (ours, theirs, want) in rows {
            let got = verdict(&Method::GET, &[("etag", ours)], &[("if-none-match", theirs)]);
            assert_eq!(got, want, "{ours} {theirs}");
        }
        let two = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
        assert_eq!(verdict(&Method::GET, &[("etag", "\"a\"")], &two), NotModified);
    }

    #[test]
    fn keeps_the_order_of_precedence() {
        let tagged = [("etag", "\"a\""), ("last-modified", START_DATE)];
        let rows: [(Fields<'_>, Fields<'_>, Verdict); 15] = [
            // `If-None-Match` before `If-Modified-Since`, whichever way.
            (&tagged, &[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)], NotModified),
            (&tagged, &[("if-none-match", "\"b\""), ("if-modified-since", AFTER)], Holds),
            (
                &[("last-modified", BEFORE)],
                &[("if-none-match", "\"b\""), ("if-modified-since", AFTER)],
                Holds,
            ),
            // `If-Match` before `If-Unmodified-Since`, and both before the others.
            (&tagged, &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Holds),
            (&tagged, &[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&tagged, &[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            (&tagged, &[("if-match", "W/\"a\"")], Failed),
            (&tagged, &[("if-match", "*")], Holds),
            (&tagged, &[("if-match", "\"x\", \"a\"")], Holds),
            (&tagged, &[("if-unmodified-since", BEFORE)], Failed),
            (&tagged, &[("if-unmodified-since", START_DATE)], Holds),
            // What we cannot tell.
            (&[], &[("if-match", "\"a\"")], Holds),
            (&[], &[("if-unmodified-since", BEFORE)], Holds),
            (&tagged, &[("if-unmodified-since", "yesterday")], Holds),
            (&tagged, &[("if-modified-since", "tomorrow")], Holds),
        ];
        for (ours, theirs, want) in rows {
            assert_eq!(verdict(&Method::GET, ours, theirs), want, "{ours:?} {theirs:?}");
        }
        let theirs = [("if-none-match", "\"a\"")];
        assert_eq!(verdict(&Method::PUT, &tagged, &theirs), Failed);
        assert_eq!(verdict(&Method::HEAD, &tagged, &theirs), NotModified);
        let gone = stored(404, &tagged);
        assert_eq!(check(&gone, asked(&Method::GET, &headers(&theirs))), Holds);
    }

    #[test]
    fn compares_dates() {
        let rows: [(Fields<'_>, &str, Verdict); 9] = [
            (&[("last-modified", BEFORE)], BEFORE, NotModified),
            (&[("last-modified", BEFORE)], BEFORE_850, NotModified),
            (&[("last-modified", BEFORE)], AFTER, NotModified),
            (&[("last-modified", START_DATE)], BEFORE, Holds),
            (&[("last-modified", START_DATE), ("date", BEFORE)], BEFORE, Holds),
            // Without it, when it was sent; and without that, when it came.
            (&[("date", START_DATE)], START_DATE, NotModified),
            (&[("date", START_DATE)], BEFORE, Holds),
            (&[], START_DATE, NotModified),
            (&[], BEFORE, Holds),
        ];
        for (ours, since, want) in rows {
            let got = verdict(&Method::GET, ours, &[("if-modified-since", since)]);
            assert_eq!(got, want, "{ours:?} {since}");
        }
        let got =
            verdict(&Method::POST, &[("last-modified", BEFORE)], &[("if-modified-since", AFTER)]);
        assert_eq!(got, Holds, "only of what is read");
    }

    #[test]
    fn follows_a_range_only_of_the_same_bytes() {
        let rows: [(Fields<'_>, Fields<'_>, bool); 11] = [
            (&[("etag", "\"a\"")], &[], true),
            (&[("etag", "\"a\"")], &[("if-range", "\"a\"")], true),
            (&[("etag", "\"a\"")], &[("if-range", "\"b\"")], false),
            (&[("etag", "\"a\"")], &[("if-range", "W/\"a\"")], false),
            (&[("etag", "W/\"a\"")], &[("if-range", "W/\"a\"")], false),
            (&[("etag", "\"a\"")], &[("if-range", "a")], false),
            (&[("etag", "\"*\"")], &[("if-range", "*")], false),
            (&[("last-modified", BEFORE), ("date", START_DATE)], &[("if-range", BEFORE)], true),
            (&[("last-modified", BEFORE), ("date", START_DATE)], &[("if-range", AFTER)], false),
            // It may have changed twice within the second.
            (&[("last-modified", BEFORE), ("date", BEFORE)], &[("if-range", BEFORE)], false),
            (&[("etag", "\"a\"")], &[("if-range", "\"a\""), ("if-range", "\"a\"")], false),
        ];
        for (ours, theirs, want) in rows {
            assert_eq!(if_range(&headers(ours), &headers(theirs)), want, "{ours:?} {theirs:?}");
        }
    }
}
