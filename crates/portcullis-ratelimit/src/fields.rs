//! What answers say about quotas: the fields of draft-ietf-httpapi-ratelimit-headers-10, and the older ones.
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::cost::Cost;
use crate::memory::Left;
use crate::quota::Window;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
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

/// The text of a field, which is mostly short.
pub(crate) type Text = SmallVec<[u8; 96]>;

/// The name of a bound as a string of a structured field.
fn string(text: &mut Text, name: &str, window: usize) {
    text.push(b'"');
    for byte in name.bytes().filter(|byte| (b' '..=b'~').contains(byte)) {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    if window > 0 {
        number(text, b".", window as u64 + 1);
    }
    text.push(b'"');
}

/// The name of a bound: that of its quota, with its number behind the first.
pub(crate) fn bound_name(name: &str, window: usize) -> String {
    if window == 0 { name.to_owned() } else { format!("{name}.{}", window + 1) }
}

fn number(text: &mut Text, key: &[u8], number: u64) {
    // Byte by byte: it is less work than to copy a few.
    for byte in key {
        text.push(*byte);
    }
    let mut rest = number.min(LARGEST);
    let mut unit = 1;
    while rest / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        // Less than ten.
        text.push(b'0' + u8::try_from(rest / unit).unwrap_or_default());
        rest %= unit;
        unit /= 10;
    }
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// What stands in `RateLimit-Policy`: for each bound how many units may come at once, and in what time there are as many again. `None` where there is no
/// bound.
pub(crate) fn policy(name: &str, windows: &[Window], cost: &Cost) -> Option<HeaderValue> {
    let mut text = Text::new();
    for (at, window) in windows.iter().enumerate() {
        if at > 0 {
            text.extend_from_slice(b", ");
        }
        string(&mut text, name, at);
        match window {
            Window::Rate(rate) => {
                number(&mut text, b";q=", rate.at_once());
                number(&mut text, b";w=", seconds(rate.nanos_of(rate.at_once())));
                text.extend_from_slice(match cost {
                    Cost::Bytes => b";qu=\"content-bytes\"",
                    Cost::Fixed(1) | Cost::Refusals => b"",
                    _ => b";qu=\"units\"",
                });
            }
            Window::AtOnce(most) => {
                number(&mut text, b";q=", u64::from(*most));
                text.extend_from_slice(b";qu=\"concurrent-requests\"");
            }
        }
    }
    (!text.is_empty()).then(|| HeaderValue::from_bytes(&text).ok()).flatten()
}

/// What begins the item of `RateLimit` for the first bound of a quota.
pub(crate) fn item_start(name: &str) -> Box<[u8]> {
    let mut text = Text::new();
    string(&mut text, name, 0);
    text.as_slice().into()
}

/// An item of `RateLimit`.
pub(crate) fn item(text: &mut Text, (name, start): (&str, &[u8]), left: Left, is_degraded: bool) {
    if !text.is_empty() {
        text.extend_from_slice(b", ");
    }
    match left.window {
        0 => text.extend_from_slice(start),
        window => string(text, name, window),
    }
    number(text, b";r=", left.remaining);
    if left.reset > 0 {
        number(text, b";t=", seconds(left.reset));
    }
    if is_degraded {
        text.extend_from_slice(b";degraded");
    }
}

/// What an answer says about quotas.
#[derive(Default)]
pub(crate) struct Said {
    policies: SmallVec<[HeaderValue; 1]>,
    items: Option<HeaderValue>,
    /// For the older fields.
    tightest: Option<Left>,
}

impl Said {
    pub(crate) fn policy(&mut self, policy: Option<HeaderValue>) {
        if let Some(policy) = policy {
            self.policies.push(policy);
        }
    }
    /// What is left, and of what the least is where that is said too.
    pub(crate) fn items(&mut self, items: &Text, tightest: Option<Left>) {
        self.items = Some(items).filter(|items| !items.is_empty()).and_then(|items| {
            // It is made of what may stand there.
            HeaderValue::from_bytes(items).ok()
        });
        self.tightest = tightest;
    }
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        for policy in self.policies {
            headers.append(RATELIMIT_POLICY, policy);
        }
        if let Some(items) = self.items {
            headers.append(RATELIMIT, items);
        }
        if let Some(left) = self.tightest {
            legacy(headers, left);
        }
    }
}

/// The older fields, unless those that stand there say that less is left.
fn legacy(headers: &mut HeaderMap, left: Left) {
    let known = headers.get(&X_REMAINING).and_then(|value| value.to_str().ok()?.parse().ok());
    if known.is_some_and(|known: u64| known <= left.remaining) {
        return;
    }
    headers.insert(X_LIMIT, HeaderValue::from(left.limit));
    headers.insert(X_REMAINING, HeaderValue::from(left.remaining));
    headers.insert(X_RESET, HeaderValue::from(seconds(left.reset)));
}
