//! Proofs that whoever sends a token has its key (`DPoP`, RFC 9449).
mod seen;

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use portcullis_core::{Context, Scheme, Target, TargetRules};
use serde_json::{Map, Value};

use self::seen::Seen;
pub use self::seen::SeenProofs;
use crate::bearer::Carried;
use crate::jose::{Flaw, Token};
use crate::token::claims_of;

/// The header that carries a proof.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("dpop");
/// How old a proof may be, and how far ahead the clock of whoever made it may be.
const AGE: Duration = Duration::from_secs(60);
const AHEAD: Duration = Duration::from_secs(30);
/// How long a proof may be: longer ones are refused before anybody reads them.
const LONGEST: usize = 8 << 10;

/// What a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) context: &'a Context,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    /// The token that it carries, where tokens are accepted.
    pub(crate) token: Carried<'a>,
}

/// Why a proof does not do.
#[derive(Debug)]
pub(crate) enum Wrong {
    Proof(Flaw),
    /// It is good, but nobody could say whether it comes again.
    Full,
}

impl From<Flaw> for Wrong {
    fn from(flaw: Flaw) -> Self {
        Self::Proof(flaw)
    }
}

impl SeenProofs {
    /// Whether the request has a proof of this key for this token that has not come before (RFC 9449, section 4.3).
    pub(crate) fn check(
        &self,
        asked: Asked<'_>,
        token: &[u8],
        key: &[u8; 32],
        now: SystemTime,
    ) -> Result<(), Wrong> {
        let mut lines = asked.headers.get_all(HEADER).iter();
        let proof = match (lines.next(), lines.next()) {
            (None, _) => return Err(Flaw::Malformed("there is no proof").into()),
            (Some(line), None) => text_of(line)?,
            _ => return Err(Flaw::Malformed("there are several proofs").into()),
        };
        let proof = Token::read(proof)?;
        if proof.typ.as_deref() != Some("dpop+jwt") {
            return Err(Flaw::Unacceptable("its type is another one").into());
        }
        if proof.brought()?.thumbprint != *key {
            return Err(Flaw::Unacceptable("its key is not that of the token").into());
        }
        let claims = claims_of(&proof)?;
        let id = check_claims(&claims, asked, token, now)?;
        match self.see(key, id, now) {
            Seen::First => Ok(()),
            Seen::Before => Err(Flaw::Claim("jti", "has come before").into()),
            Seen::Full => Err(Wrong::Full),
        }
    }
}

fn text_of(line: &HeaderValue) -> Result<&str, Flaw> {
    let text = line.to_str().map_err(|_| Flaw::Malformed("it is no text"))?;
    if text.len() > LONGEST {
        return Err(Flaw::Malformed("it is too long"));
    }
    Ok(text)
}

/// Whether a proof is for this request and this token, and for now. Its id.
fn check_claims<'a>(
    claims: &'a Map<String, Value>,
    asked: Asked<'_>,
    token: &[u8],
    now: SystemTime,
) -> Result<&'a str, Flaw> {
    let text = |name: &'static str| {
        let text = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(Flaw::Claim(name, "is missing, or no text"))
    };
    if text("htm")? != asked.method.as_str() {
        return Err(Flaw::Claim("htm", "is another method"));
    }
    if !is_for(text("htu")?, asked) {
        return Err(Flaw::Claim("htu", "is another address"));
    }
    let made = claims.get("iat").and_then(Value::as_u64);
    let made = made.and_then(|made| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(made)));
    let made = made.ok_or(Flaw::Claim("iat", "is no whole number of seconds"))?;
    if made > now + AHEAD {
        return Err(Flaw::Claim("iat", "is in the future"));
    }
    if now.duration_since(made).is_ok_and(|age| age > AGE) {
        return Err(Flaw::Claim("iat", "is too long ago"));
    }
    if text("ath")? != URL_SAFE_NO_PAD.encode(digest(&SHA256, token)) {
        return Err(Flaw::Claim("ath", "is another token"));
    }
    text("jti")
}

/// Whether an address is the one that is asked for, without its query: in one spelling of both (RFC 9449, section 4.3, item 9).
fn is_for(address: &str, asked: Asked<'_>) -> bool {
    let rules =
        TargetRules::strict().allow_encoded_slash().keep_empty_segments().allow_parameters();
    let meant = address.parse::<Uri>().ok().and_then(|uri| {
        let scheme = uri.scheme_str().and_then(Scheme::from_name)?;
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        Target::of(&request, scheme, None, &rules).ok()
    });
    let Some(meant) = meant else { return false };
    let same = |target: &Target| {
        target.scheme() == meant.scheme()
            && target.authority() == meant.authority()
            && target.path() == meant.path()
    };
    if let Some(target) = asked.context.target() {
        return same(target);
    }
    // Without an edge in front nobody has read the target yet.
    let mut request = Request::new(());
    *request.uri_mut() = asked.uri.clone();
    *request.headers_mut() = asked.headers.clone();
    Target::of(&request, asked.context.scheme(), None, &rules).is_ok_and(|target| same(&target))
}
