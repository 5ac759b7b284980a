//! Issuers that are asked over HTTP.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use portcullis_core::Secret;

use super::client::{Address, RemoteUrlError};
use super::introspection::Introspect;
use super::source::{FetchKeys, IssuerAnswer};

/// How large a set of keys may be, and what is said of one token.
const LARGEST_KEYS: usize = 256 << 10;
const LARGEST_ANSWER: usize = 8 << 10;

/// Where an issuer publishes its keys: `https://..`, or `http://` on this very machine. Redirects are not followed, so that nobody else decides which
/// address is asked.
#[derive(Clone, Debug)]
pub struct JwksUrl(Address);

impl JwksUrl {
    /// Trusts the authorities that the machine trusts.
    ///
    /// # Errors
    /// It is no address, or one that is not safe.
    pub fn new(url: &str) -> Result<Self, RemoteUrlError> {
        Address::new(url, None).map(Self)
    }
    /// Trusts these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// As [`new`](Self::new), or they cannot be read.
    pub fn with_authorities(url: &str, pem: &[u8]) -> Result<Self, RemoteUrlError> {
        Address::new(url, Some(pem)).map(Self)
    }
}

impl FetchKeys for JwksUrl {
    fn fetch(&self) -> IssuerAnswer {
        Box::pin(self.0.ask(Request::get("/"), Bytes::new(), LARGEST_KEYS))
    }
}

/// Where an issuer is asked about a token (RFC 7662): `https://..`, or `http://` on this very machine. We say who we are by `Basic` (RFC 6749, section
/// 2.3.1), with our id and secret there. Redirects are not followed.
#[derive(Clone, Debug)]
pub struct IntrospectionUrl {
    address: Address,
    credentials: HeaderValue,
}

impl IntrospectionUrl {
    /// Trusts the authorities that the machine trusts.
    ///
    /// # Errors
    /// It is no address, or one that is not safe.
    pub fn new(
        url: &str,
        client_id: &str,
        client_secret: &Secret<String>,
    ) -> Result<Self, RemoteUrlError> {
        Address::new(url, None).map(|address| Self::at(address, client_id, client_secret))
    }
    /// Trusts these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// As [`new`](Self::new), or they cannot be read.
    pub fn with_authorities(
        url: &str,
        pem: &[u8],
        client_id: &str,
        client_secret: &Secret<String>,
    ) -> Result<Self, RemoteUrlError> {
        Address::new(url, Some(pem)).map(|address| Self::at(address, client_id, client_secret))
    }
    fn at(address: Address, id: &str, secret: &Secret<String>) -> Self {
        let both = format!("{}:{}", form(id), form(secret.expose()));
        let value = format!("Basic {}", STANDARD.encode(both));
        // Base64 is a header value always.
        let mut credentials =
            HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("Basic"));
        credentials.set_sensitive(true);
        Self { address, credentials }
    }
}

impl Introspect for IntrospectionUrl {
    fn introspect(&self, token: &str) -> IssuerAnswer {
        let request = Request::post("/")
            .header(AUTHORIZATION, self.credentials.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = format!("token={}&token_type_hint=access_token", form(token));
        Box::pin(self.address.ask(request, body.into(), LARGEST_ANSWER))
    }
}

/// A value of `application/x-www-form-urlencoded`.
fn form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
