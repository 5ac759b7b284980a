//! What an answer may contain.
use http::HeaderName;
use portcullis_core::problem::{IANA_REGISTRY, REGISTRY};

/// What an answer may contain beyond what every answer may.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    headers: Vec<HeaderName>,
    members: Vec<String>,
    types: Vec<String>,
    foreign_errors: bool,
}

/// The headers that our layers may send, and those of HTTP that any application sends.
const HEADERS: &[&str] = &[
    // Content (RFC 9110, section 8) and its framing.
    "content-type content-length content-encoding content-language content-location content-range",
    "content-disposition transfer-encoding trailer",
    // The answer (RFC 9110, sections 10.2 and 14.3).
    "date location allow retry-after accept-ranges link upgrade connection via",
    // Validators and caching (RFC 9110, section 8.8; RFC 9111; RFC 9211; RFC 9213).
    "etag last-modified vary cache-control cdn-cache-control expires age cache-status",
    // Who is asking (RFC 9110, section 11; RFC 6265).
    "www-authenticate authentication-info set-cookie clear-site-data",
    // Limits (the RateLimit draft of the HTTPAPI group).
    "ratelimit ratelimit-policy",
    // CORS (Fetch standard).
    "access-control-allow-origin access-control-allow-methods access-control-allow-headers",
    "access-control-allow-credentials access-control-allow-private-network",
    "access-control-expose-headers access-control-max-age",
    // Security headers (OWASP ASVS 5.0, section 3.4).
    "strict-transport-security x-content-type-options referrer-policy content-security-policy",
    "permissions-policy x-frame-options cross-origin-opener-policy cross-origin-embedder-policy",
    "cross-origin-resource-policy",
    // Names of the request, gRPC, WebSockets.
    "x-request-id traceresponse grpc-status grpc-message grpc-encoding grpc-accept-encoding",
    "sec-websocket-accept sec-websocket-protocol sec-websocket-extensions",
];

fn headers() -> impl Iterator<Item = &'static str> {
    HEADERS.iter().flat_map(|line| line.split(' '))
}

/// The members that RFC 9457 defines, and the RateLimit draft.
const MEMBERS: &[&str] = &["type", "title", "status", "detail", "instance", "violated-policies"];

impl Rules {
    #[track_caller]
    pub(crate) fn allow_header(&mut self, name: &str) {
        self.headers.push(super::header_name(name));
    }
    pub(crate) fn allow_member(&mut self, name: &str) {
        self.members.push(name.to_owned());
    }
    pub(crate) fn allow_problems(&mut self, prefix: &str) {
        self.types.push(prefix.to_owned());
    }
    pub(crate) fn allow_foreign_errors(&mut self) {
        self.foreign_errors = true;
    }

    pub(super) fn header_is_allowed(&self, name: &HeaderName) -> bool {
        headers().any(|known| name == known) || self.headers.contains(name)
    }
    pub(super) fn member_is_allowed(&self, name: &str) -> bool {
        MEMBERS.contains(&name) || self.members.iter().any(|allowed| allowed == name)
    }
    pub(super) fn type_is_allowed(&self, uri: &str) -> bool {
        let is_in = |registry| uri.strip_prefix(registry).is_some_and(is_slug);
        [REGISTRY, IANA_REGISTRY].into_iter().any(is_in)
            || self.types.iter().any(|prefix| uri.starts_with(prefix))
    }
    pub(super) fn foreign_errors(&self) -> bool {
        self.foreign_errors
    }
}

/// Whether `text` is words of lower-case letters and digits with `-` between them.
fn is_slug(text: &str) -> bool {
    text.split('-').all(|word| {
        !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_list_can_be_spelled() {
        for name in headers() {
            assert_eq!(HeaderName::from_static(name), name);
        }
    }

    #[test]
    fn a_type_is_of_the_registry_or_of_the_application() {
        let mut rules = Rules::default();
        rules.allow_problems("https://shop.example/problems/");
        let ours = |slug: &str| format!("{REGISTRY}{slug}");
        for (uri, want) in [
            (ours("rate-limited"), true),
            (format!("{IANA_REGISTRY}quota-exceeded"), true),
            (ours(""), false),
            (ours("Rate_limited"), false),
            (ours("rate-"), false),
            ("https://shop.example/problems/sold-out".to_owned(), true),
            ("about:blank".to_owned(), false),
            ("rate-limited".to_owned(), false),
        ] {
            assert_eq!(rules.type_is_allowed(&uri), want, "{uri}");
        }
    }
}
