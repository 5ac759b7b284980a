//! Bearer tokens (RFC 6750): `Authorization: Bearer ..`.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{ConfigError, Identity};

use crate::api_key::Invalid;
use crate::jose::{Flaw, Token};
use crate::jwt::{Fingerprint, JudgedBy, JwtIssuer, Now, Remembered, RemoteKeys, claims_of};

/// How long a token may be: longer ones are refused before anybody reads them.
const LONGEST: usize = 8 << 10;
/// How many tokens are remembered.
const REMEMBERED: usize = 10_000;

/// The issuers whose tokens are accepted, and tokens of theirs that were.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    issuers: Vec<JwtIssuer>,
    most: usize,
    remembered: Arc<Remembered>,
    errors: Vec<ConfigError>,
}

impl Bearer {
    pub(crate) fn new() -> Self {
        Self::remembering(REMEMBERED)
    }
    fn remembering(most: usize) -> Self {
        Self {
            issuers: Vec::new(),
            most,
            remembered: Arc::new(Remembered::new(most)),
            errors: Vec::new(),
        }
    }
    /// The same with one more issuer. What was remembered is not taken along: it was the verdict of others.
    pub(crate) fn with(&self, issuer: JwtIssuer) -> Self {
        let mut more = Self {
            issuers: self.issuers.clone(),
            errors: self.errors.clone(),
            ..Self::remembering(self.most)
        };
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
    /// The same with room for so many tokens.
    pub(crate) fn with_memory(&self, most: usize) -> Self {
        Self {
            issuers: self.issuers.clone(),
            errors: self.errors.clone(),
            ..Self::remembering(most)
        }
    }
    pub(crate) fn issuers(&self) -> &[JwtIssuer] {
        &self.issuers
    }
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
    /// How to say who one is.
    pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"api\"");
    /// The same to whoever has sent a token that is not good.
    pub(crate) const INVALID: HeaderValue =
        HeaderValue::from_static("Bearer realm=\"api\", error=\"invalid_token\"");

    /// Whether the headers carry a token.
    pub(crate) fn is_in(headers: &HeaderMap) -> bool {
        headers.get_all(AUTHORIZATION).iter().any(|line| token_of(line).is_some())
    }
    /// Whose token the headers carry.
    pub(crate) fn identify(&self, headers: &HeaderMap, now: SystemTime, may_look: bool) -> Verdict {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Verdict::Nobody };
        if lines.next().is_some() {
            return Verdict::Invalid("several `Authorization` headers".into());
        }
        let Some(token) = token_of(line) else { return Verdict::Nobody };
        let Ok(token) = std::str::from_utf8(token) else {
            return Verdict::Invalid("a token that is no text".into());
        };
        if token.len() > LONGEST {
            return Verdict::Invalid("a token that is too long".into());
        }
        let fingerprint = Fingerprint::of(token);
        if let Some((identity, of)) = self.remembered.get(fingerprint, now)
            && let Some(issuer) = self.issuers.get(of.issuer)
            && issuer.keys().version() == Some(of.version)
        {
            return Verdict::Known(identity);
        }
        match self.verify(token, now, may_look) {
            Ok((identity, until, of)) => {
                self.remembered.remember(fingerprint, (identity.clone(), of), until, now);
                Verdict::Known(identity)
            }
            Err(verdict) => verdict,
        }
    }
    fn verify(
        &self,
        token: &str,
        now: SystemTime,
        may_look: bool,
    ) -> Result<(Identity, SystemTime, JudgedBy), Verdict> {
        let token = Token::read(token)?;
        let claims = claims_of(&token)?;
        let named = claims.get("iss").and_then(|issuer| issuer.as_str());
        // What stands there is a claim like any other: the keys of the issuer that it names decide.
        let at = self.issuers.iter().position(|own| Some(own.issuer()) == named);
        let known = at.and_then(|at| Some((at, self.issuers.get(at)?)));
        let (at, issuer) = known.ok_or(Flaw::Claim("iss", "is nobody who is known"))?;
        let until = issuer.judge(&token, &claims, now)?;
        let look = || issuer.remote().filter(|_| may_look).and_then(RemoteKeys::look);
        let mut known = issuer.keys();
        loop {
            let version = known.version();
            let verdict = match known {
                Now::Nothing => Verdict::Unavailable,
                Now::Keys(keys, version) => match keys.verify(&token) {
                    Ok(()) => {
                        let by = JudgedBy { issuer: at, version };
                        return Ok((issuer.identity(claims)?, until, by));
                    }
                    Err(Flaw::UnknownKey) => Flaw::UnknownKey.into(),
                    Err(flaw) => return Err(flaw.into()),
                },
            };
            if let Some(look) = look() {
                return Err(Verdict::Look(look));
            }
            // Somebody has just looked: others may have arrived since these were read.
            known = issuer.keys();
            if known.version() == version {
                return Err(verdict);
            }
        }
    }
}

/// What came of a look at a token.
pub(crate) enum Verdict {
    /// There is none.
    Nobody,
    Known(Identity),
    Invalid(Invalid),
    /// The issuer's keys are asked for: ask again when that is done.
    Look(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// There are no keys, and there is no way to get them.
    Unavailable,
}

impl From<Flaw> for Verdict {
    fn from(flaw: Flaw) -> Self {
        Self::Invalid(Invalid(flaw.to_string().into()))
    }
}

/// What stands behind `Bearer`, in any case. `None` for another scheme, which is none of ours; nothing for what only somebody else would take for a
/// token, such as one behind a tab or in a list.
fn token_of(line: &HeaderValue) -> Option<&[u8]> {
    let mut parts = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let (first, rest) = (parts.next()?, parts.next());
    let token = behind_scheme(first);
    match rest {
        None => token,
        Some(second) => {
            let ours = token.or(behind_scheme(second)).or_else(|| parts.find_map(behind_scheme));
            ours.map(|_| &b""[..])
        }
    }
}

/// The token of one part of the header, where its scheme is ours.
fn behind_scheme(part: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = part.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    match rest {
        [b' ', token @ ..] => Some(token.trim_ascii()),
        // The name of another scheme goes on; whatever else stands there ends it.
        [next, ..] if next.is_ascii_alphanumeric() || matches!(next, b'-' | b'_') => None,
        _ => Some(b""),
    }
}
