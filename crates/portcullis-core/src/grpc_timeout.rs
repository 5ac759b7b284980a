//! The time that a gRPC client gives a call.
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The time that a gRPC client gives a call: `grpc-timeout` of the gRPC protocol, at most eight digits and a unit.
///
/// ```
/// use std::time::Duration;
/// use portcullis_core::GrpcTimeout;
/// let mut headers = http::HeaderMap::new();
/// GrpcTimeout(Duration::from_millis(1_500)).write(&mut headers);
/// assert_eq!(headers["grpc-timeout"], "1500m");
/// assert_eq!(GrpcTimeout::read(&headers), Some(GrpcTimeout(Duration::from_millis(1_500))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "it is a time and never more")]
pub struct GrpcTimeout(pub Duration);

const NAME: HeaderName = HeaderName::from_static("grpc-timeout");
/// The least number that has more than eight digits.
const TOO_LONG: u128 = 100_000_000;

impl GrpcTimeout {
    /// The header that says it.
    pub const HEADER: HeaderName = NAME;

    /// What the headers of a request say; `None` where they say nothing, or nothing that can be read.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(NAME)?.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let amount: u64 = digits.parse().ok()?;
        Some(Self(match unit {
            "H" => Duration::from_secs(amount * 3600),
            "M" => Duration::from_secs(amount * 60),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            "n" => Duration::from_nanos(amount),
            _ => return None,
        }))
    }
    /// Says it in the headers of a request, in place of what they said: in milliseconds where they fit, and rounded down.
    pub fn write(self, headers: &mut HeaderMap) {
        let (amount, unit) = match self.0.as_millis() {
            0 => (self.0.as_micros(), 'u'),
            millis if millis < TOO_LONG => (millis, 'm'),
            _ => (u128::from(self.0.as_secs()).min(TOO_LONG - 1), 'S'),
        };
        if let Ok(value) = HeaderValue::try_from(format!("{amount}{unit}")) {
            headers.insert(NAME, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_the_protocol_says() {
        for (text, want) in [
            ("2S", Some(Duration::from_secs(2))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("3M", Some(Duration::from_secs(180))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789m", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("-1S", None),
            ("1x", None),
            ("1 S", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, HeaderValue::from_static(text));
            assert_eq!(GrpcTimeout::read(&headers), want.map(GrpcTimeout), "{text}");
        }
        assert_eq!(GrpcTimeout::read(&HeaderMap::new()), None);
    }

    #[test]
    fn it_is_written_with_eight_digits_at_most_and_never_as_more() {
        for (time, want) in [
            (Duration::ZERO, "0u"),
            (Duration::from_nanos(1_999), "1u"),
            (Duration::from_micros(999), "999u"),
            (Duration::from_micros(2_500), "2m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            let mut headers = HeaderMap::new();
            GrpcTimeout(time).write(&mut headers);
            assert_eq!(headers[NAME], want, "{time:?}");
            assert!(GrpcTimeout::read(&headers) <= Some(GrpcTimeout(time)), "{time:?}");
        }
    }
}
