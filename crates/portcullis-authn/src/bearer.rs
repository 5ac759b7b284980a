//! Bearer tokens (RFC 6750): `Authorization: Bearer ..`.
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{ConfigError, Identity};

use crate::api_key::Invalid;
use crate::jose::{Flaw, Token};
use crate::jwt::{Fingerprint, JwtIssuer, Remembered, claims_of};

/// How long a token may be: longer ones are refused before anybody reads them.
const LONGEST: usize = 8 << 10;
/// How many tokens are remembered.
const REMEMBERED: usize = 10_000;

/// The issuers whose tokens are accepted, and tokens of theirs that were.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    issuers: Vec<JwtIssuer>,
    remembered: Arc<Remembered>,
    errors: Vec<ConfigError>,
}

impl Bearer {
    pub(crate) fn new() -> Self {
        Self {
            issuers: Vec::new(),
            remembered: Arc::new(Remembered::new(REMEMBERED)),
            errors: Vec::new(),
        }
    }
    /// The same with one more issuer. What was remembered is not taken along: it was the verdict of others.
    pub(crate) fn with(&self, issuer: JwtIssuer) -> Self {
        let mut more =
            Self { issuers: self.issuers.clone(), errors: self.errors.clone(), ..Self::new() };
        if more.issuers.iter().any(|other| other.issuer() == issuer.issuer()) {
            let place = format!("issuer `{}`", issuer.issuer());
            more.errors.push(ConfigError::new(
                place,
                "it is there twice: give one of them all keys and audiences",
            ));
        }
        more.issuers.push(issuer);
        more
    }
    pub(crate) fn issuers(&self) -> &[JwtIssuer] {
        &self.issuers
    }
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
    /// How to say who one is.
    pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
    /// The same to whoever has sent a token that is not good.
    pub(crate) const INVALID: HeaderValue =
        HeaderValue::from_static("Bearer error=\"invalid_token\"");

    /// Whether the headers carry a token.
    pub(crate) fn is_in(headers: &HeaderMap) -> bool {
        headers.get_all(AUTHORIZATION).iter().any(|line| token_of(line).is_some())
    }
    /// Whose token the headers carry: `None` without one, an error for one that is not good, or for two.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Option<Identity>, Invalid> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Invalid::from("several `Authorization` headers"));
        }
        let Some(token) = token_of(line) else { return Ok(None) };
        let token =
            std::str::from_utf8(token).map_err(|_| Invalid::from("a token that is no text"))?;
        if token.len() > LONGEST {
            return Err(Invalid::from("a token that is too long"));
        }
        let fingerprint = Fingerprint::of(token);
        if let Some(identity) = self.remembered.get(fingerprint, now) {
            return Ok(Some(identity));
        }
        let (identity, until) =
            self.verify(token, now).map_err(|flaw| Invalid(flaw.to_string().into()))?;
        self.remembered.remember(fingerprint, identity.clone(), until, now);
        Ok(Some(identity))
    }
    fn verify(&self, token: &str, now: SystemTime) -> Result<(Identity, SystemTime), Flaw> {
        let token = Token::read(token)?;
        let claims = claims_of(&token)?;
        let issuer = claims.get("iss").and_then(|issuer| issuer.as_str());
        // What stands there is a claim like any other: the keys of the issuer that it names decide.
        let issuer = self.issuers.iter().find(|own| Some(own.issuer()) == issuer);
        issuer.ok_or(Flaw::Claim("iss", "is nobody who is known"))?.identify(&token, claims, now)
    }
}

/// What stands behind `Bearer`, in any case. `None` for another scheme, which is none of ours.
fn token_of(line: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = line.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
