//! W3C Trace Context: which trace a request belongs to.
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderValue;

use crate::request_id::hex;

/// Which trace a request belongs to (W3C Trace Context, section 3).
///
/// The edge continues the trace that a trusted hop names and begins a new one for everyone else.
///
/// ```
/// use portcullis_core::TraceContext;
/// let incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = TraceContext::parse(incoming).unwrap();
/// assert!(trace.is_sampled());
/// let child = trace.child();
/// assert_eq!(child.parent_id(), Some(trace.span_id()));
/// assert_eq!(child.trace_id(), trace.trace_id());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    parent_id: Option<NonZeroU64>,
    flags: u8,
}

const SAMPLED: u8 = 1;

impl TraceContext {
    /// A new trace, not sampled.
    pub fn random() -> Self {
        let trace_id = NonZeroU128::new(fastrand::u128(1..)).unwrap_or(NonZeroU128::MIN);
        Self { trace_id, span_id: span_id(), parent_id: None, flags: 0 }
    }
    /// Reads a `traceparent` header. `None` for what the specification calls invalid: such a trace is not continued.
    pub fn parse(traceparent: &str) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" flags; a later version may append more.
        let bytes = traceparent.as_bytes();
        let (head, rest) = bytes.split_at_checked(55)?;
        let [v1, v2, b'-', fields @ ..] = head else { return None };
        let version = hex_number(&[*v1, *v2])?;
        if version == 0xff || (version == 0 && !rest.is_empty()) || !matches!(rest, [] | [b'-', ..])
        {
            return None;
        }
        let (trace, fields) = fields.split_at_checked(32)?;
        let (span, fields) = fields.strip_prefix(b"-")?.split_at_checked(16)?;
        Some(Self {
            trace_id: NonZeroU128::new(hex_number(trace)?)?,
            span_id: NonZeroU64::new(u64::try_from(hex_number(span)?).ok()?)?,
            parent_id: None,
            flags: u8::try_from(hex_number(fields.strip_prefix(b"-")?)?).ok()?,
        })
    }
    /// A span of our own inside this one.
    #[must_use]
    pub fn child(self) -> Self {
        // Only the sampled flag is known to us; the others must not be passed on (section 3.2.2.5).
        Self {
            span_id: span_id(),
            parent_id: Some(self.span_id),
            flags: self.flags & SAMPLED,
            ..self
        }
    }
    /// The id of the whole trace.
    pub fn trace_id(self) -> NonZeroU128 {
        self.trace_id
    }
    /// The id of the current span.
    pub fn span_id(self) -> NonZeroU64 {
        self.span_id
    }
    /// The id of the span around it.
    pub fn parent_id(self) -> Option<NonZeroU64> {
        self.parent_id
    }
    /// Whether the caller may have recorded the trace.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
    /// The trace as the value of a `traceparent` header.
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text()).unwrap_or(HeaderValue::from_static(""))
    }
    /// Version, trace, span and flags. Made by hand, since it is asked for by each request that goes on.
    fn text(self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (span, flags) = (hex(self.span_id.get().into()), hex(self.flags.into()));
        for (place, digits) in [
            (3..35, hex(self.trace_id.get()).as_slice()),
            (36..52, &span[16..]),
            (53..55, &flags[30..]),
        ] {
            if let Some(place) = text.get_mut(place) {
                place.copy_from_slice(digits);
            }
        }
        text
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

fn span_id() -> NonZeroU64 {
    NonZeroU64::new(fastrand::u64(1..)).unwrap_or(NonZeroU64::MIN)
}

/// The number that lower-case hexadecimal digits say; upper case is not allowed.
fn hex_number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continues_only_what_the_specification_calls_valid() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (value, ok) in [
            (format!("00-{trace}-{span}-01"), true),
            (format!("00-{trace}-{span}-ff"), true),
            (format!("cc-{trace}-{span}-01-what-comes-later"), true),
            (format!("cc-{trace}-{span}-01.later"), false),
            (format!("00-{trace}-{span}-01-more"), false),
            (format!("ff-{trace}-{span}-01"), false),
            (format!("00-{}-{span}-01", trace.to_uppercase()), false),
            (format!("00-{}-{span}-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{trace}-{span}-1"), false),
            (format!("00_{trace}-{span}-01"), false),
            (String::new(), false),
        ] {
            assert_eq!(TraceContext::parse(&value).is_some(), ok, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(trace in 1..u128::MAX, span in 1..u64::MAX, flags: u8) {
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            proptest::prop_assert_eq!(TraceContext::parse(&text).unwrap().to_string(), text);
        }
        #[test]
        fn any_text_gets_an_answer(text in ".*") {
            let _ = TraceContext::parse(&text);
        }
    }
}
