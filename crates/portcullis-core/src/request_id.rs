//! One name for one request, in every log.
use std::fmt;

use bytes::Bytes;
use http::HeaderValue;

/// One name for one request: 1 to 128 visible characters. Cheap to clone.
///
/// It is taken over from a trusted hop and made anew for everyone else. It is unique, not secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new id: 32 hexadecimal digits of 128 random bits.
    pub fn random() -> Self {
        let text = hex(fastrand::u128(..));
        Self(
            HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
                .unwrap_or(HeaderValue::from_static("-")),
        )
    }
    /// Takes over an id that another server gave: letters, digits, `-`, `_`, `.`, `:`, `+`, `/`, `=` and `@`, so that
    /// it can stand in a log without quoting. Anything else is no id.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b);
        ((1..=128).contains(&bytes.len()) && bytes.iter().all(plain)).then(|| Self(value.clone()))
    }
    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Every constructor admits ASCII only.
        self.0.to_str().unwrap_or_default()
    }
    /// The id as a header value.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
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
    let mut digits = [b'0'; 32];
    for (digit, shift) in digits.iter_mut().zip((0..128).step_by(4).rev()) {
        let value = u8::try_from(number >> shift & 0xf).unwrap_or_default();
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
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
