//! Parts of one representation that make a larger one (RFC 9111, sections 3.3 and 3.4).
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, StatusCode};
use smallvec::{SmallVec, smallvec};

use super::range::{self, Held, Span};
use super::{NoVarySearch, Stored, conditional};

/// Two stored responses that make one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Combined {
    /// Everything but the body.
    pub head: Stored,
    /// What its body consists of, in this order: bytes of one of the two bodies, from the first up to, but without, the last.
    pub pieces: SmallVec<[(Source, u64, u64); 3]>,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// What was stored before.
    Old,
    /// The part that has come now.
    New,
}

impl Stored {
    /// What this response and a newer `part` of the same representation make together: all of it, or a larger part. `len` and `part_len` are how many bytes their
    /// bodies have.
    ///
    /// `None` where they have not the same strong validator, or there is a gap between them (RFC 9111, section 3.4). Where both have a byte, it is that of the
    /// newer one. What the newer one says of freshness holds for both.
    pub fn combine(&self, len: u64, part: &Self, part_len: u64) -> Option<Combined> {
        let is_possible = part.status == StatusCode::PARTIAL_CONTENT
            && matches!(self.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
            && self.scope == part.scope
            && conditional::strong(&self.headers)?.0 == conditional::strong(&part.headers)?.0;
        if !is_possible {
            return None;
        }
        let (old, new) = (self.held(len)?, part.held(part_len)?);
        let total = match (old.total, new.total) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let pieces = join(old.span, new.span)?;
        let span = (old.span.0.min(new.span.0), old.span.1.max(new.span.1));
        // Of two totals one may have been unknown, and be too small for the other.
        if total.is_some_and(|total| span.1 > total) {
            return None;
        }
        Some(Combined { head: self.with(part, Held { span, total }), pieces })
    }

    /// The head of the whole: that of the newer, and what only the older has.
    fn with(&self, part: &Self, all: Held) -> Self {
        let mut head = part.clone();
        for name in self.headers.keys().filter(|name| !part.headers.contains_key(*name)) {
            for value in self.headers.get_all(name) {
                // Where there are too many, what does not fit is left out.
                _ = head.headers.try_append(name, value.clone());
            }
        }
        if all.is_whole() {
            head.status = StatusCode::OK;
            head.headers.remove(CONTENT_RANGE);
        } else {
            head.headers.insert(CONTENT_RANGE, range::say(all.span, all.total));
        }
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(all.span.1 - all.span.0));
        head.search = NoVarySearch::of(&head.headers).map(Box::new);
        // Of two the stricter: a purge by a tag of either reaches it.
        head.is_explicitly_public &= self.is_explicitly_public;
        for tag in self.tags.iter().filter(|tag| !part.tags.contains(tag)) {
            head.tags.push(tag.clone());
        }
        head
    }

    /// The `Range` that asks the origin for what is missing at the end of an incomplete response; `len` is how many bytes of body are stored. [`if_range`](Self::if_range) belongs
    /// beside it.
    ///
    /// `None` where nothing is missing at the end, the beginning is missing as well, or what is stored says itself that it cannot be combined (a weak validator).
    /// Where it has no validator at all, an origin that takes no notice of `Range` answers with all of it; but what a 206 brings cannot be combined, and all of it
    /// has to be asked for.
    pub fn missing(&self, len: u64) -> Option<HeaderValue> {
        let held = match self.status {
            StatusCode::PARTIAL_CONTENT => self.held(len)?,
            StatusCode::OK => {
                let total = self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
                Held { span: (0, len), total: Some(total) }
            }
            _ => return None,
        };
        let is_headless = held.span.0 > 0 || held.span.1 == 0;
        let is_complete = held.total.is_some_and(|total| total <= held.span.1);
        let is_weak = conditional::strong(&self.headers).is_none() && self.has_validator();
        if is_headless || is_complete || is_weak { None } else { Some(range::from(held.span.1)) }
    }

    /// The `If-Range` beside [`missing`](Self::missing): an origin whose representation has changed answers with all of it. `None` where there is no strong validator.
    pub fn if_range(&self) -> Option<HeaderValue> {
        conditional::strong(&self.headers).map(|(_, value)| value.clone())
    }
}

/// Which bytes of two bodies follow each other; `None` where there is a gap.
fn join(old: Span, new: Span) -> Option<SmallVec<[(Source, u64, u64); 3]>> {
    if new.0 > old.1 || old.0 > new.1 {
        return None;
    }
    let mut pieces = smallvec![];
    if old.0 < new.0 {
        pieces.push((Source::Old, 0, new.0 - old.0));
    }
    pieces.push((Source::New, 0, new.1 - new.0));
    if new.1 < old.1 {
        pieces.push((Source::Old, new.1 - old.0, old.1 - old.0));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::sample::{START_DATE, stored};
    use super::*;

    /// Bytes of a representation of ten, `0123456789`.
    fn part(range: &str, tag: &str, more: &[(&str, &str)]) -> Stored {
        let fields = [("content-range", range), ("etag", tag)];
        stored(206, &[fields.as_slice(), more].concat())
    }

    fn body(combined: &Combined, old: &str, new: &str) -> String {
        let piece = |&(source, first, end): &(Source, u64, u64)| {
            let body = if source == Source::Old { old } else { new };
            let index = |at: u64| usize::try_from(at).unwrap();
            body.get(index(first)..index(end)).unwrap()
        };
        combined.pieces.iter().map(piece).collect()
    }

    #[test]
    fn joins_what_touches() {
        let rows = [
            ("bytes 0-4/10", "01234", "bytes 5-9/10", "56789", "0123456789", None),
            ("bytes 5-9/10", "56789", "bytes 0-4/10", "01234", "0123456789", None),
            ("bytes 0-5/10", "012345", "bytes 3-9/*", "3456789", "0123456789", None),
            ("bytes 0-9/10", "0123456789", "bytes 3-5/10", "abc", "012abc6789", None),
            ("bytes 2-3/10", "23", "bytes 1-5/10", "12345", "12345", Some("bytes 1-5/10")),
            ("bytes 1-2/*", "12", "bytes 3-3/*", "3", "123", Some("bytes 1-3/*")),
        ];
        for (old_range, old, new_range, new, want, range) in rows {
            let (one, other) = (part(old_range, "\"a\"", &[]), part(new_range, "\"a\"", &[]));
            let combined = one.combine(old.len() as u64, &other, new.len() as u64).unwrap();
            assert_eq!(body(&combined, old, new), want, "{old_range} {new_range}");
            let head = &combined.head;
            assert_eq!(
                head.headers.get(CONTENT_RANGE).map(|value| value.to_str().unwrap()),
                range,
                "{old_range} {new_range}"
            );
            assert_eq!(head.status.as_u16(), if range.is_some() { 206 } else { 200 });
            assert_eq!(head.headers.get(CONTENT_LENGTH).unwrap(), want.len().to_string().as_str());
        }
    }

    #[test]
    fn joins_a_whole_with_a_part() {
        let whole = stored(
            200,
            &[("etag", "\"a\""), ("x-old", "1"), ("x-both", "1"), ("content-length", "10")],
        );
        let new = part("bytes 2-3/10", "\"a\"", &[("x-both", "2")]);
        let combined = whole.combine(10, &new, 2).unwrap();
        assert_eq!(body(&combined, "0123456789", "ab"), "01ab456789");
        let fields = &combined.head.headers;
        assert_eq!(
            (&fields["x-old"], &fields["x-both"]),
            (&"1".parse().unwrap(), &"2".parse().unwrap())
        );
    }

    #[test]
    fn takes_the_stricter_of_two() {
        let mut old = part("bytes 0-4/10", "\"a\"", &[("no-vary-search", "params")]);
        let mut new = part("bytes 5-9/10", "\"a\"", &[]);
        (old.tags, new.tags) =
            (smallvec![Arc::from("a"), Arc::from("b")], smallvec![Arc::from("b")]);
        new.is_explicitly_public = true;
        let head = old.combine(5, &new, 5).unwrap().head;
        assert!(!head.is_explicitly_public);
        assert_eq!(head.tags.len(), 2);
        assert!(head.no_vary_search().is_some());
    }

    #[test]
    fn keeps_apart_what_may_differ() {
        let old = part("bytes 0-4/10", "\"a\"", &[]);
        let rows = [
            (part("bytes 6-9/10", "\"a\"", &[]), 4, "a gap"),
            (part("bytes 5-9/10", "\"b\"", &[]), 5, "another version"),
            (part("bytes 5-9/11", "\"a\"", &[]), 5, "another length"),
            (part("bytes 5-9/10", "\"a\"", &[]), 4, "a body that is too short"),
            (stored(200, &[("etag", "\"a\"")]), 10, "no part"),
        ];
        for (new, len, why) in rows {
            assert!(old.combine(5, &new, len).is_none(), "{why}");
        }
        for tag in ["W/\"a\"", "a"] {
            let (old, new) = (part("bytes 0-4/10", tag, &[]), part("bytes 5-9/10", tag, &[]));
            assert!(old.combine(5, &new, 5).is_none(), "{tag} is weak");
        }
        let dated = |range: &str, date: &str| {
            stored(
                206,
                &[
                    ("content-range", range),
                    ("last-modified", "Tue, 31 Dec 2024 00:00:00 GMT"),
                    ("date", date),
                ],
            )
        };
        let (old, new) = (dated("bytes 0-4/10", START_DATE), dated("bytes 5-9/10", START_DATE));
        assert!(old.combine(5, &new, 5).is_some());
        let hasty = dated("bytes 5-9/10", "Tue, 31 Dec 2024 00:00:00 GMT");
        assert!(old.combine(5, &hasty, 5).is_none(), "a date within the second is weak");
        let (old, new) = (
            stored(206, &[("content-range", "bytes 0-4/10")]),
            stored(206, &[("content-range", "bytes 5-9/10")]),
        );
        assert!(old.combine(5, &new, 5).is_none(), "nothing says that they are of one");
        let mut other = part("bytes 5-9/10", "\"a\"", &[]);
        other.scope = crate::Scope::Identity;
        assert!(
            part("bytes 0-4/10", "\"a\"", &[]).combine(5, &other, 5).is_none(),
            "another scope"
        );
    }

    #[test]
    fn asks_for_what_is_missing() {
        let missing = |stored: &Stored, len| {
            stored.missing(len).map(|value| value.to_str().unwrap().to_owned())
        };
        let bare = |range: &str| stored(206, &[("content-range", range)]);
        assert_eq!(missing(&bare("bytes 0-4/10"), 5).as_deref(), Some("bytes=5-"));
        assert_eq!(missing(&bare("bytes 0-4/*"), 5).as_deref(), Some("bytes=5-"));
        assert_eq!(missing(&bare("bytes 0-9/10"), 10), None);
        assert_eq!(missing(&bare("bytes 4-9/10"), 6), None);
        assert_eq!(missing(&bare("bytes 0-4/10"), 4), None);
        assert_eq!(missing(&part("bytes 0-4/10", "W/\"a\"", &[]), 5), None);
        let tagged = part("bytes 0-4/10", "\"a\"", &[]);
        assert_eq!(missing(&tagged, 5).as_deref(), Some("bytes=5-"));
        assert_eq!(tagged.if_range().unwrap(), "\"a\"");
        assert_eq!(bare("bytes 0-4/10").if_range(), None);
        let cut = stored(200, &[("content-length", "10"), ("etag", "\"a\"")]);
        assert_eq!(missing(&cut, 4).as_deref(), Some("bytes=4-"));
        assert_eq!(missing(&cut, 10), None);
        assert_eq!(missing(&stored(200, &[]), 4), None);
    }
}
