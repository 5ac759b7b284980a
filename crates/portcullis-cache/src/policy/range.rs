//! `Range` and `Content-Range` (RFC 9110, section 14).
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// How many ranges are answered at most. Whoever asks for more gets all of it, as for a field that makes no sense (section 14.2).
const MOST: usize = 16;

/// One range, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// `first-last`, both included.
    Closed(u64, u64),
    /// `first-`.
    Open(u64),
    /// `-length`: the last bytes.
    Suffix(u64),
}

/// Bytes of the representation: from the first up to, but without, the last.
pub(super) type Span = (u64, u64);

/// What a `Range` asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// All of it: there is no range, or none that is followed.
    Whole,
    /// Some of it, in the order it was asked for. Never empty, and no span is.
    Spans(SmallVec<[Span; 2]>),
    /// Nothing that there is.
    Unsatisfiable,
    /// It depends on the length of the representation, which is not known.
    Unknown,
}

/// The ranges that a request asks for; `None` where there are none or the field is to be ignored: another unit, or not well-formed.
pub(super) fn asked(headers: &HeaderMap) -> Option<SmallVec<[Spec; 2]>> {
    let mut values = headers.get_all(RANGE).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse(value.to_str().ok()?)
}

fn parse(text: &str) -> Option<SmallVec<[Spec; 2]>> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = SmallVec::new();
    for spec in set.split(',').map(trim).filter(|spec| !spec.is_empty()) {
        let (first, last) = spec.split_once('-')?;
        specs.push(match (first, last) {
            ("", length) => Spec::Suffix(number(length)?),
            (first, "") => Spec::Open(number(first)?),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return None;
                }
                Spec::Closed(first, last)
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// What these ranges are of a representation with `total` bytes, which may not be known.
pub(super) fn resolve(specs: &[Spec], total: Option<u64>) -> Ranges {
    if specs.len() > MOST {
        return Ranges::Whole;
    }
    let mut spans = SmallVec::new();
    let mut is_of_nothing = false;
    for &spec in specs {
        let span = match (spec, total) {
            (Spec::Closed(first, last), Some(total)) => (first, last.saturating_add(1).min(total)),
            (Spec::Open(first), Some(total)) => (first, total),
            (Spec::Suffix(length), Some(total)) => {
                is_of_nothing |= total == 0 && length > 0;
                (total.saturating_sub(length), total)
            }
            (Spec::Closed(first, last), None) => match last.checked_add(1) {
                Some(end) => (first, end),
                None => return Ranges::Unknown,
            },
            (Spec::Open(_) | Spec::Suffix(_), None) => return Ranges::Unknown,
        };
        if span.0 < span.1 {
            spans.push(span);
        }
    }
    if spans.is_empty() {
        // The last bytes of nothing can be had, but no `Content-Range` says so (section 14.1.2).
        return if is_of_nothing { Ranges::Whole } else { Ranges::Unsatisfiable };
    }
    if total.is_some_and(|total| sum(&spans) > total) {
        return Ranges::Whole;
    }
    Ranges::Spans(spans)
}

/// How many bytes they have, those that are in several counted so many times.
pub(super) fn sum(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, (first, end)| sum.saturating_add(end.saturating_sub(*first)))
}

/// Which bytes of a representation a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The first byte, and the one behind the last.
    pub(super) span: Span,
    /// How many there are in all, where that is known.
    pub(super) total: Option<u64>,
}

impl Held {
    /// All of them.
    pub(super) fn whole(len: u64) -> Self {
        Self { span: (0, len), total: Some(len) }
    }
    pub(super) fn is_whole(&self) -> bool {
        self.span.0 == 0 && self.total == Some(self.span.1)
    }
    pub(super) fn has(&self, span: Span) -> bool {
        self.span.0 <= span.0 && span.1 <= self.span.1
    }
}

/// What a `Content-Range` says; `None` where there is none, or not one, of bytes, that is well-formed.
pub(super) fn content_range(headers: &HeaderMap) -> Option<Held> {
    let mut values = headers.get_all(CONTENT_RANGE).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (unit, rest) = value.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (span, total) = rest.split_once('/')?;
    let (first, last) = trim(span).split_once('-')?;
    let (first, end) = (exact(first)?, exact(last)?.checked_add(1)?);
    let total = match trim(total) {
        "*" => None,
        total => Some(exact(total)?),
    };
    let is_sound = first < end && total.is_none_or(|total| end <= total);
    is_sound.then_some(Held { span: (first, end), total })
}

/// The `Content-Range` of bytes of a representation.
pub(super) fn say(span: Span, total: Option<u64>) -> HeaderValue {
    value(&text(span, total))
}

pub(super) fn text((first, end): Span, total: Option<u64>) -> String {
    let last = end.saturating_sub(1);
    match total {
        Some(total) => format!("bytes {first}-{last}/{total}"),
        None => format!("bytes {first}-{last}/*"),
    }
}

/// The `Content-Range` of a 416.
pub(super) fn unsatisfiable(total: u64) -> HeaderValue {
    value(&format!("bytes */{total}"))
}

/// The `Range` of all bytes from one on.
pub(super) fn from(first: u64) -> HeaderValue {
    value(&format!("bytes={first}-"))
}

/// Text of our own making: visible characters and spaces.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A number of any size: a representation ends before the largest that fits.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn exact(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, total: u64) -> Ranges {
        parse(text).map_or(Ranges::Whole, |specs| resolve(&specs, Some(total)))
    }

    #[test]
    fn reads_ranges_of_ten_bytes() {
        let check = |text: &str, want: &[Span]| {
            assert_eq!(resolved(text, 10), Ranges::Spans(SmallVec::from_slice(want)), "{text}");
        };
        check("bytes=0-0", &[(0, 1)]);
        check("Bytes=2-5", &[(2, 6)]);
        check("bytes=5-", &[(5, 10)]);
        check("bytes=-3", &[(7, 10)]);
        check("bytes=-30", &[(0, 10)]);
        check("bytes=8-99", &[(8, 10)]);
        check("bytes=8-99999999999999999999999999", &[(8, 10)]);
        check("bytes= 0-1 ,, 4-5\t", &[(0, 2), (4, 6)]);
        check("bytes=10-, 0-1", &[(0, 2)]);
        check("bytes=6-9,0-5", &[(6, 10), (0, 6)]);
    }

    #[test]
    fn ignores_what_makes_no_sense() {
        let wrong = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes 0-1",
            "items=0-1",
        ];
        for text in wrong {
            assert_eq!(resolved(text, 10), Ranges::Whole, "{text}");
        }
        // More than there is, and more ranges than anybody needs.
        assert_eq!(resolved("bytes=0-8,1-9", 10), Ranges::Whole);
        let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(resolved(&many(MOST + 1), 1000), Ranges::Whole);
        assert!(matches!(resolved(&many(MOST), 1000), Ranges::Spans(spans) if spans.len() == MOST));
    }

    #[test]
    fn knows_what_there_is_not() {
        for text in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(resolved(text, 10), Ranges::Unsatisfiable, "{text}");
        }
        assert_eq!(resolved("bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(resolved("bytes=-5", 0), Ranges::Whole);
        assert_eq!(resolve(&[Spec::Open(1)], None), Ranges::Unknown);
        assert_eq!(resolve(&[Spec::Suffix(1)], None), Ranges::Unknown);
        assert_eq!(
            resolve(&[Spec::Closed(1, 2)], None),
            Ranges::Spans(SmallVec::from_slice(&[(1, 3)]))
        );
    }

    #[test]
    fn reads_content_range() {
        let read = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            content_range(&HeaderMap::from_iter([(CONTENT_RANGE, value)]))
        };
        assert_eq!(read("bytes 4-9/10"), Some(Held { span: (4, 10), total: Some(10) }));
        assert_eq!(read("bytes 4-9/*"), Some(Held { span: (4, 10), total: None }));
        for text in [
            "bytes */10",
            "bytes 4-9",
            "bytes 9-4/10",
            "bytes 4-10/10",
            "items 4-9/10",
            "bytes 4-18446744073709551615/*",
            "bytes 4-9/x",
            "apetixmb",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let held = Held { span: (4, 10), total: Some(10) };
        assert_eq!(say(held.span, held.total), "bytes 4-9/10");
        assert_eq!(unsatisfiable(10), "bytes */10");
    }
}
