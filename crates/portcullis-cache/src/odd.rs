//! Which fields requests usually have.
//!
//! What stands in a field that is no part of the key may change the response, and who sends it may be after just that (cache poisoning). So in the preset `application` a
//! response is shared only where its request had fields that are usual, or that its `Vary` names. Whoever sends others is answered from what is stored, and stores nothing.
use http::HeaderName;

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
            | "baggage"
            | "cache-control"
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
            | "forwarded"
            | "from"
            | "host"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "keep-alive"
            | "max-forwards"
            | "origin"
            | "pragma"
            | "priority"
            | "purpose"
            | "range"
            | "referer"
            | "rtt"
            | "save-data"
            | "te"
            | "traceparent"
            | "tracestate"
            | "transfer-encoding"
            | "upgrade-insecure-requests"
            | "user-agent"
            | "via"
            | "viewport-width"
            | "width"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-request-id"
            | "x-requested-with"
    ) || name.starts_with("sec-")
}
