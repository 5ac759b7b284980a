//! One name for one request, in every log.
use std::fmt;
use std::hash::{Hash, Hasher};

use http::{HeaderName, HeaderValue};

/// The header that carries a request id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One name for one request: 1 to 128 visible characters. Cheap to clone.
///
/// It is taken over from a trusted hop and made anew for everyone else. It is unique, not secret.
#[derive(Clone)]
pub struct RequestId(Text);

#[derive(Clone)]
enum Text {
    /// Of our own making. It stays off the heap until somebody wants a header of it.
    Own([u8; 32]),
    Given(HeaderValue),
}

impl RequestId {
    /// A new id: 32 hexadecimal digits of 128 random bits.
    pub fn random() -> Self {
        Self(Text::Own(hex(fastrand::u128(..))))
    }
    /// Takes over an id that another server gave: letters, digits, `-`, `_`, `.`, `:`, `+`, `/`, `=` and `@`, so that
    /// it can stand in a log without quoting. Anything else is no id.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b);
        let valid = (1..=128).contains(&bytes.len()) && bytes.iter().all(plain);
        valid.then(|| Self(Text::Given(value.clone())))
    }
    /// The id as text.
    pub fn as_str(&self) -> &str {
        let bytes = match &self.0 {
            Text::Own(digits) => digits.as_slice(),
            Text::Given(value) => value.as_bytes(),
        };
        // Every constructor admits ASCII only.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
    /// The id as a header value.
    pub fn header_value(&self) -> HeaderValue {
        match &self.0 {
            // Digits are visible characters.
            Text::Own(digits) => {
                HeaderValue::from_bytes(digits).unwrap_or(HeaderValue::from_static("-"))
            }
            Text::Given(value) => value.clone(),
        }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The 32 lower-case hexadecimal digits of `number`.
pub(crate) fn hex(number: u128) -> [u8; 32] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    let mut digits = [b'0'; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_what_can_stand_in_a_log() {
        for (value, ok) in [
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("a-b_c.d:e+f/g=h@i", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
        ] {
            assert_eq!(
                RequestId::parse(&HeaderValue::from_static(value)).is_some(),
                ok,
                "{value:?}"
            );
        }
        assert!(RequestId::parse(&HeaderValue::try_from("x".repeat(129)).unwrap()).is_none());
        assert_eq!(RequestId::random().as_str().len(), 32);
        assert_ne!(RequestId::random(), RequestId::random());
        assert_eq!(&hex(0xff), b"000000000000000000000000000000ff");
    }
}
