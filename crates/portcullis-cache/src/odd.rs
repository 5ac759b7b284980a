//! Which fields requests usually have.
//!
//! What stands in a field that is no part of the key may change the response, and who sends it may be after just that (cache poisoning). So in the preset `application` a
//! response is shared only where its request had fields that are usual, or that its `Vary` names. Whoever sends others is answered from what is stored, and stores nothing.
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Scope;
use crate::exchange::Exchange;
use crate::policy::{Preset, Stored};

/// Whether clients send this field of their own accord, so that an origin that lets it change a shared response without `Vary` is broken for everybody.
pub(crate) fn is_usual(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "accept"
            | "accept-charset"
            | "accept-encoding"
            | "accept-language"
            | "authorization"
            | "b3"
            | "baggage"
            | "cache-control"
            | "cdn-loop"
            | "cf-ray"
            | "connection"
            | "content-length"
            | "content-type"
            | "cookie"
            | "date"
            | "device-memory"
            | "dnt"
            | "downlink"
            | "dpop"
            | "dpr"
            | "early-data"
            | "ect"
            | "expect"
            | "host"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "keep-alive"
            | "origin"
            | "pragma"
            | "priority"
            | "purpose"
            | "range"
            | "referer"
            | "rtt"
            | "save-data"
            | "sentry-trace"
            | "sec-gpc"
            | "sec-purpose"
            | "te"
            | "traceparent"
            | "tracestate"
            | "transfer-encoding"
            | "upgrade-insecure-requests"
            | "user-agent"
            | "via"
            | "viewport-width"
            | "width"
            | "x-amzn-trace-id"
            | "x-cloud-trace-context"
            | "x-correlation-id"
            | "x-forwarded-for"
            | "x-request-id"
            | "x-requested-with"
    ) || name.starts_with("sec-ch-")
        || name.starts_with("sec-fetch-")
        || name.starts_with("x-b3-")
}

/// Whether a field that a proxy writes says what the key says too, or no more than where a client is. Any other value may be a client's own.
pub(crate) fn is_as_keyed(name: &HeaderName, value: &HeaderValue, url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Ok(value) = value.to_str() else { return false };
    match name.as_str() {
        "x-forwarded-host" => value.eq_ignore_ascii_case(authority),
        "x-forwarded-proto" => value.eq_ignore_ascii_case(scheme),
        // No more than an address, or a number.
        "x-real-ip" => value.parse::<IpAddr>().is_ok(),
        "x-forwarded-port" => value.parse::<u16>().is_ok(),
        "forwarded" => value.split([',', ';']).all(|pair| {
            let (name, said) = pair.trim().split_once('=').unwrap_or_default();
            let said = said.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "host" => said.eq_ignore_ascii_case(authority),
                "proto" => said.eq_ignore_ascii_case(scheme),
                "for" | "by" => true,
                _ => false,
            }
        }),
        _ => false,
    }
}

impl Exchange {
    /// Whether others would get what the client has said in a field that is no part of the key.
    pub(crate) fn is_odd(&self, stored: &Stored, headers: &HeaderMap) -> bool {
        stored.scope() != Scope::Identity && self.has_odd_fields(headers, &stored.vary)
    }
    pub(crate) fn has_odd_fields(
        &self,
        headers: &HeaderMap,
        keyed: &[(HeaderName, Option<Box<str>>)],
    ) -> bool {
        let is_keyed = |name: &HeaderName| keyed.iter().any(|(keyed, _)| keyed == name);
        // What a layer before has read as a credential says who it is, and that is known.
        let is_read = |name: &HeaderName| {
            self.context.consumed().is_some_and(|consumed| consumed.headers().contains(name))
        };
        self.shared.rules.preset == Preset::Application
            && headers.iter().any(|(name, value)| {
                !is_usual(name)
                    && !is_as_keyed(name, value, self.key.url_text())
                    && !self.shared.ignored.contains(name)
                    && !is_keyed(name)
                    && !is_read(name)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_is_usual_where_it_is_what_the_key_says() {
        let url = "https://shop.example/books?page=2";
        for (name, value, is_as_keyed) in [
            ("x-forwarded-host", "Shop.example", true),
            ("x-forwarded-host", "evil.example", false),
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "http", false),
            ("forwarded", "for=192.0.2.1;host=shop.example;proto=https", true),
            ("forwarded", "for=192.0.2.1, for=\"[2001:db8::1]\"", true),
            ("forwarded", "for=192.0.2.1;host=evil.example", false),
            ("forwarded", "secret=1", false),
            ("x-real-ip", "192.0.2.1", true),
            ("x-real-ip", "evil.example", false),
            ("x-odd", "https", false),
        ] {
            let (name, said) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(super::is_as_keyed(&name, &said, url), is_as_keyed, "{name}: {value}");
        }
    }
}
