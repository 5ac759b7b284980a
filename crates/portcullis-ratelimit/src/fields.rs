//! What answers say about quotas: the fields of draft-ietf-httpapi-ratelimit-headers-10, and the older ones.
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cost::Cost;
use crate::memory::Left;
use crate::quota::Window;

pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What answers say about quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fields {
    /// `RateLimit` and `RateLimit-Policy`. The default.
    #[default]
    Standard,
    /// These, and `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds from now) of the quota of which the least is left.
    WithLegacy,
    /// Nothing but `Retry-After`.
    Off,
}

/// The largest whole number of a structured field (RFC 9651, section 3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// Whether a name can stand in a field.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The name of a bound as a string of a structured field.
fn string(text: &mut String, name: &str, window: usize) {
    text.push('"');
    for c in name.chars().filter(|c| (' '..='~').contains(c)) {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    if window > 0 {
        // Writing to a string never fails.
        _ = write!(text, ".{}", window + 1);
    }
    text.push('"');
}

/// The name of a bound: that of its quota, with its number behind the first.
pub(crate) fn bound_name(name: &str, window: usize) -> String {
    if window == 0 { name.to_owned() } else { format!("{name}.{}", window + 1) }
}

fn number(text: &mut String, key: &str, number: u64) {
    text.push_str(key);
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number.min(LARGEST);
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            // Less than ten.
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(at..).and_then(|digits| std::str::from_utf8(digits).ok());
    text.push_str(digits.unwrap_or_default());
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// What stands in `RateLimit-Policy`: for each bound how many units may come at once, and in what time there are as many again. `None` where there is no
/// bound.
pub(crate) fn policy(name: &str, windows: &[Window], cost: &Cost) -> Option<HeaderValue> {
    let mut text = String::new();
    for (at, window) in windows.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        string(&mut text, name, at);
        match window {
            Window::Rate(rate) => {
                number(&mut text, ";q=", rate.at_once());
                number(&mut text, ";w=", seconds(rate.nanos_of(rate.at_once())));
                text.push_str(match cost {
                    Cost::Bytes => ";qu=\"content-bytes\"",
                    Cost::Fixed(1) | Cost::Refusals => "",
                    _ => ";qu=\"units\"",
                });
            }
            Window::AtOnce(most) => {
                number(&mut text, ";q=", u64::from(*most));
                text.push_str(";qu=\"concurrent-requests\"");
            }
        }
    }
    HeaderValue::try_from(text).ok()
}

/// What begins the item of `RateLimit` for the first bound of a quota.
pub(crate) fn item_start(name: &str) -> String {
    let mut text = String::new();
    string(&mut text, name, 0);
    text
}

/// An item of `RateLimit`.
pub(crate) fn item(text: &mut String, (name, start): (&str, &str), left: Left, is_degraded: bool) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    match left.window {
        0 => text.push_str(start),
        window => string(text, name, window),
    }
    number(text, ";r=", left.remaining);
    if left.reset > 0 {
        number(text, ";t=", seconds(left.reset));
    }
    if is_degraded {
        text.push_str(";degraded");
    }
}

/// The older fields, unless those that stand there say that less is left.
pub(crate) fn legacy(headers: &mut HeaderMap, left: Left) {
    let known = headers.get(&X_REMAINING).and_then(|value| value.to_str().ok()?.parse().ok());
    if known.is_some_and(|known: u64| known <= left.remaining) {
        return;
    }
    headers.insert(X_LIMIT, HeaderValue::from(left.limit));
    headers.insert(X_REMAINING, HeaderValue::from(left.remaining));
    headers.insert(X_RESET, HeaderValue::from(seconds(left.reset)));
}
