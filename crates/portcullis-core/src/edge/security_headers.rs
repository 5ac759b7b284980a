//! Headers that every answer carries.
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Scheme;

/// The security headers that every answer carries, ours included. A header that the application set stays.
///
/// Default (OWASP ASVS 5.0, section 3.4): `X-Content-Type-Options: nosniff`, `Referrer-Policy: no-referrer`,
/// `Content-Security-Policy: frame-ancestors 'none'`, and over https `Strict-Transport-Security` of a year.
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    always: Vec<(HeaderName, HeaderValue)>,
    https: Option<HeaderValue>,
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self {
            always: vec![
                (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
                (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
                (CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
            ],
            https: Some(HeaderValue::from_static("max-age=31536000; includeSubDomains")),
        }
    }
}

impl SecurityHeaders {
    /// No headers at all.
    pub fn none() -> Self {
        Self { always: Vec::new(), https: None }
    }
    /// Adds a header, or gives it another value.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if name == STRICT_TRANSPORT_SECURITY {
            self.https = Some(value);
            return self;
        }
        self = self.without(&name);
        self.always.push((name, value));
        self
    }
    /// Leaves a header out.
    #[must_use]
    pub fn without(mut self, name: &HeaderName) -> Self {
        self.always.retain(|(known, _)| known != name);
        if *name == STRICT_TRANSPORT_SECURITY {
            self.https = None;
        }
        self
    }
    /// How many headers an answer over `scheme` gets.
    pub(crate) fn len(&self, scheme: Scheme) -> usize {
        self.always.len() + usize::from(scheme == Scheme::Https && self.https.is_some())
    }
    pub(crate) fn add_to(&self, headers: &mut HeaderMap, scheme: Scheme) {
        for (name, value) in &self.always {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if let (Scheme::Https, Some(value)) = (scheme, &self.https) {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| value.clone());
        }
    }
}
