//! Tokens: `Authorization: Bearer ..` (RFC 6750) and `Authorization: DPoP ..` (RFC 9449).
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{ConfigError, Context, Identity, Route};
use serde_json::{Map, Value};

use crate::api_key::Invalid;
use crate::certificate::digest_of_client;
use crate::jose::{Flaw, Token};
use crate::proof::{Asked, SeenProofs, Wrong};
use crate::session::{Loaded, StoreError};
use crate::stored_key::FoundKey;
use crate::token::{
    Answer, Fingerprint, Introspection, Judged, Now, Remembered, RemoteKeys, TokenIssuer, Told,
    claims_of,
};

/// How long a token may be: longer ones are refused before anybody reads them.
const LONGEST: usize = 8 << 10;
/// How many tokens are remembered.
const REMEMBERED: usize = 10_000;

/// The issuers whose tokens are accepted, and what was found out about tokens of theirs.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    issuers: Vec<TokenIssuer>,
    most: usize,
    remembered: Arc<Remembered<(Judged, JudgedBy)>>,
    proofs: SeenProofs,
    errors: Vec<ConfigError>,
}

/// How a token comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Whoever has it may use it.
    Bearer,
    /// With a proof that who sends it has its key.
    Dpop,
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
            proofs: SeenProofs::new(),
            errors: Vec::new(),
        }
    }
    /// The same with one more issuer. What was remembered is not taken along: it was the verdict of others.
    pub(crate) fn with(&self, issuer: TokenIssuer) -> Self {
        let mut more = self.with_memory(self.most);
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
            // Proofs that have come may not come again, whoever judges them.
            proofs: self.proofs.clone(),
            ..Self::remembering(most)
        }
    }
    pub(crate) fn with_proofs(&self, proofs: SeenProofs) -> Self {
        Self { proofs, ..self.clone() }
    }
    pub(crate) fn issuers(&self) -> &[TokenIssuer] {
        &self.issuers
    }
    pub(crate) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
    /// What is wrong on a route: nobody could say which issuer is to be asked about a token.
    pub(crate) fn ambiguous<'a>(&'a self, route: Option<&Route>) -> Option<[&'a str; 2]> {
        let mut asked = self.asked(route);
        let name = |at: usize| self.issuers.get(at).map_or("", TokenIssuer::issuer);
        while let Some((one, introspection)) = asked.next() {
            // The same one twice is told elsewhere.
            let mut others = asked.clone().filter(|(at, _)| name(*at) != name(one));
            let other = others.find(|(_, other)| introspection.overlaps(other));
            if let Some((other, _)) = other {
                return Some([one, other].map(name));
            }
        }
        None
    }
    /// Who may be asked about tokens on a route.
    fn asked<'a>(
        &'a self,
        route: Option<&'a Route>,
    ) -> impl Iterator<Item = (usize, &'a Introspection)> + Clone {
        let all = self.issuers.iter().enumerate();
        let all = all.filter(move |(_, issuer)| takes(route, issuer.issuer()));
        all.filter_map(|(at, issuer)| Some((at, issuer.introspection()?)))
    }
    /// How to say who one is on a route, and what was wrong with how somebody said it.
    pub(crate) fn challenges(
        &self,
        route: Option<&Route>,
        wrong: Option<(Scheme, &str)>,
    ) -> Vec<HeaderValue> {
        let mut taken =
            self.issuers.iter().filter(|issuer| takes(route, issuer.issuer())).peekable();
        if taken.peek().is_none() {
            return Vec::new();
        }
        let bearer = !taken.all(TokenIssuer::bound_only);
        let schemes = [(Scheme::Bearer, bearer), (Scheme::Dpop, true)];
        let offered = schemes.into_iter().filter(|(_, offered)| *offered);
        let texts = offered.map(|(scheme, _)| {
            let (name, more) = match scheme {
                Scheme::Bearer => ("Bearer", ""),
                Scheme::Dpop => ("DPoP", ", algs=\"ES256 EdDSA PS256 RS256\""),
            };
            let error = wrong.filter(|(own, _)| *own == scheme).map(|(_, error)| error);
            let error = error.map_or_else(String::new, |error| format!(", error=\"{error}\""));
            format!("{name} realm=\"api\"{more}{error}")
        });
        texts.filter_map(|text| HeaderValue::try_from(text).ok()).collect()
    }

    /// Whose token a request carries. What was looked up for it comes with it the second time.
    pub(crate) fn identify(
        &self,
        asked: Asked<'_>,
        now: SystemTime,
        looked: Option<Looked>,
    ) -> Verdict {
        let (scheme, token) = match asked.token {
            Carried::Nothing => return Verdict::Nobody,
            Carried::One(scheme, token) => (scheme, token),
            Carried::Several { scheme, .. } => {
                return Verdict::Invalid("several `Authorization` headers".into(), scheme);
            }
        };
        let wrong = |what: &'static str| Verdict::Invalid(what.into(), scheme);
        if token.is_empty() {
            return wrong("no token behind the name of its scheme");
        }
        if token.len() > LONGEST {
            return wrong("a token that is too long");
        }
        let fingerprint = Fingerprint::of(token);
        let judged = if let Some(judged) = self.remembered(fingerprint, asked.context, now) {
            Ok(judged)
        } else {
            // Each letter is looked at from here on, and not of a token that is known.
            let text = std::str::from_utf8(token).ok();
            let Some(text) = text.filter(|text| text.bytes().all(is_token_byte)) else {
                return wrong("letters that no token has");
            };
            self.judge(Presented { text, fingerprint }, scheme, asked, now, looked)
        };
        match judged {
            Ok(judged) => self.prove(judged, scheme, token, asked, now),
            Err(Stop::Flaw(flaw)) => Verdict::Invalid(Invalid(flaw.to_string().into()), scheme),
            Err(Stop::Look(look)) => Verdict::Look(look),
            Err(Stop::Unavailable) => Verdict::Unavailable,
        }
    }
    fn remembered(&self, token: Fingerprint, context: &Context, now: SystemTime) -> Option<Judged> {
        let ((judged, by), _) = self.remembered.get(token, now)?;
        let issuer = self.issuers.get(by.issuer)?;
        // Elsewhere the same letters may be the token of another issuer.
        if !takes(context.route(), issuer.issuer()) {
            return None;
        }
        let is_current = by.version.is_none() || issuer.key_version() == by.version;
        is_current.then_some(judged)
    }
    fn judge(
        &self,
        token: Presented<'_>,
        scheme: Scheme,
        asked: Asked<'_>,
        now: SystemTime,
        looked: Option<Looked>,
    ) -> Result<Judged, Stop> {
        let (judged, until, by) = match self.sort(token.text, asked.context)? {
            (at, Some((signed, claims))) => {
                self.verify(at, &signed, claims, now, looked.is_none())?
            }
            (at, None) => {
                let is_bound_only = self.issuers.get(at).is_some_and(TokenIssuer::bound_only);
                let may_be_bound =
                    scheme == Scheme::Dpop || digest_of_client(asked.context).is_some();
                if is_bound_only && !may_be_bound {
                    // Nobody need be asked about it.
                    return Err(Flaw::Unacceptable("it is bound to nobody").into());
                }
                self.introspect(at, token, now, looked)?
            }
        };
        self.remembered.remember(token.fingerprint, (judged.clone(), by), until, now);
        Ok(judged)
    }
    /// Whose word counts for a token.
    fn sort<'a>(&self, text: &'a str, context: &Context) -> Result<Sorted<'a>, Flaw> {
        let read = Token::read(text).and_then(|token| Ok((claims_of(&token)?, token)));
        let flaw = match read {
            Ok((claims, token)) => {
                let named = claims.get("iss").and_then(Value::as_str);
                // What stands there is a claim like any other: the keys of the issuer that it names decide, or its word.
                let at = self.issuers.iter().position(|own| Some(own.issuer()) == named);
                let known = at.and_then(|at| Some((at, self.issuers.get(at)?)));
                let (at, issuer) = known.ok_or(Flaw::Claim("iss", "is nobody who is known"))?;
                if !takes(context.route(), issuer.issuer()) {
                    return Err(Flaw::Claim("iss", "is nobody whose callers this route takes"));
                }
                let is_read = issuer.has_keys();
                return Ok((at, is_read.then_some((token, claims))));
            }
            Err(flaw) => flaw,
        };
        // What wants to be a signed token is one that is not good, where such tokens are read.
        let wants_to_be_signed = text.starts_with("eyJ") && text.split('.').count() == 3;
        if wants_to_be_signed && self.issuers.iter().any(TokenIssuer::has_keys) {
            return Err(flaw);
        }
        let route = context.route();
        let mut asked = self.asked(route).filter(|(_, introspection)| introspection.may_be(text));
        match (asked.next(), asked.next()) {
            (Some((at, _)), None) => Ok((at, None)),
            (None, _) => Err(flaw),
            _ => Err(Flaw::Unacceptable("several issuers could be asked about it")),
        }
    }
    fn verify(
        &self,
        at: usize,
        token: &Token<'_>,
        claims: Map<String, Value>,
        now: SystemTime,
        may_look: bool,
    ) -> Result<(Judged, SystemTime, JudgedBy), Stop> {
        let issuer = self.issuers.get(at).ok_or(Flaw::UnknownKey)?;
        let until = issuer.judge(token, &claims, now)?;
        let look = || issuer.remote().filter(|_| may_look).and_then(RemoteKeys::look);
        let mut known = issuer.keys();
        loop {
            let version = known.version();
            let stop = match known {
                Now::Nothing => Stop::Unavailable,
                Now::Keys(keys, version) => match keys.verify(token) {
                    Ok(()) => {
                        let by = JudgedBy { issuer: at, version: Some(version) };
                        return Ok((issuer.identity(claims)?, until, by));
                    }
                    Err(Flaw::UnknownKey) => Flaw::UnknownKey.into(),
                    Err(flaw) => return Err(flaw.into()),
                },
            };
            if let Some(look) = look() {
                return Err(Stop::Look(Box::pin(async move {
                    look.await;
                    Looked::Keys
                })));
            }
            // Somebody has just looked: others may have arrived since these were read.
            known = issuer.keys();
            if known.version() == version {
                return Err(stop);
            }
        }
    }
    fn introspect(
        &self,
        at: usize,
        token: Presented<'_>,
        now: SystemTime,
        looked: Option<Looked>,
    ) -> Result<(Judged, SystemTime, JudgedBy), Stop> {
        let issuer = self.issuers.get(at).ok_or(Stop::Unavailable)?;
        let introspection = issuer.introspection().ok_or(Stop::Unavailable)?;
        let known = introspection.known(token.fingerprint, now);
        let (answer, counts) = match (looked, known) {
            (Some(Looked::Told(of, told)), _) if of == at => told,
            (Some(_), _) => return Err(Stop::Unavailable),
            (None, Some(known)) => known,
            (None, None) => {
                let look = introspection.look(token.text, token.fingerprint);
                let look = look.ok_or(Stop::Unavailable)?;
                return Err(Stop::Look(Box::pin(async move { Looked::Told(at, look.await) })));
            }
        };
        match answer {
            Answer::Active(claims) => {
                let (judged, until) = issuer.told(&claims, now)?;
                let until = until.map_or(counts, |until| until.min(counts));
                Ok((judged, until, JudgedBy { issuer: at, version: None }))
            }
            Answer::Inactive => Err(Flaw::Inactive.into()),
            Answer::Nothing => Err(Stop::Unavailable),
        }
    }
    /// Whether whoever sends a token is the one to whom it is bound, if it is bound to anybody.
    fn prove(
        &self,
        judged: Judged,
        scheme: Scheme,
        token: &[u8],
        asked: Asked<'_>,
        now: SystemTime,
    ) -> Verdict {
        let Judged { identity, bound } = judged;
        let wrong = |what: &'static str| Verdict::Invalid(what.into(), scheme);
        if bound.certificate.is_some_and(|own| digest_of_client(asked.context) != Some(own)) {
            return wrong("a token that is bound to a certificate, which the connection has not");
        }
        match (scheme, bound.key) {
            (Scheme::Bearer, None) => Verdict::Known(identity),
            (Scheme::Bearer, Some(_)) => wrong("a token that is bound to a key, without a proof"),
            (Scheme::Dpop, None) => wrong("a token with a proof that is bound to no key"),
            (Scheme::Dpop, Some(key)) => match self.proofs.check(asked, token, &key, now) {
                Ok(()) => Verdict::Known(identity),
                Err(Wrong::Full) => Verdict::Unavailable,
                Err(Wrong::Proof(flaw)) => {
                    Verdict::BadProof(Invalid(format!("the proof: {flaw}").into()))
                }
            },
        }
    }
}

/// Whether a route takes the callers of an issuer.
pub(crate) fn takes(route: Option<&Route>, issuer: &str) -> bool {
    route.is_none_or(|route| Route::access(route).takes(issuer))
}

/// By which keys of which issuer a token was judged, or by its word. With others it is judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct JudgedBy {
    /// Its place in the layer.
    issuer: usize,
    /// None where the issuer was asked.
    version: Option<u64>,
}

/// A token as it came.
#[derive(Clone, Copy)]
struct Presented<'a> {
    text: &'a str,
    fingerprint: Fingerprint,
}

/// Whose word counts for a token: by its place, that of an issuer's keys about what was read, or its own.
type Sorted<'a> = (usize, Option<(Token<'a>, Map<String, Value>)>);

/// What was looked up for a request.
pub(crate) enum Looked {
    /// Nothing, within the time there was.
    Nothing,
    /// Keys, which stand where keys stand.
    Keys,
    /// What this issuer says of the token.
    Told(usize, Told),
    /// What the store says of a session.
    Session(Loaded),
    /// What the store says of a key.
    Key(Result<Option<FoundKey>, StoreError>),
}

type Look = Pin<Box<dyn Future<Output = Looked> + Send>>;

/// Why there is no judgement.
enum Stop {
    Flaw(Flaw),
    Look(Look),
    Unavailable,
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// What came of a look at a request.
pub(crate) enum Verdict {
    /// There is no token.
    Nobody,
    Known(Identity),
    Invalid(Invalid, Scheme),
    /// The token is good, and its proof is not.
    BadProof(Invalid),
    /// Somebody is asked: ask again when that is done.
    Look(Look),
    /// There is nobody to ask.
    Unavailable,
}

/// The token that a request carries.
#[derive(Clone, Copy)]
pub(crate) enum Carried<'a> {
    /// None, or what is none of ours.
    Nothing,
    One(Scheme, &'a [u8]),
    /// Several headers, so that nobody can say which is meant.
    Several {
        scheme: Scheme,
        any_is_ours: bool,
    },
}

impl<'a> Carried<'a> {
    pub(crate) fn by(headers: &'a HeaderMap) -> Self {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Self::Nothing };
        let first = token_of(line);
        match (first, lines.next()) {
            (None, None) => Self::Nothing,
            (Some((scheme, token)), None) => Self::One(scheme, token),
            (first, Some(second)) => Self::Several {
                scheme: first.map_or(Scheme::Bearer, |(scheme, _)| scheme),
                any_is_ours: first.is_some()
                    || token_of(second).is_some()
                    || lines.any(|line| token_of(line).is_some()),
            },
        }
    }
    /// Whether there is something that is ours, good or not.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(..) => true,
            Self::Several { any_is_ours, .. } => any_is_ours,
        }
    }
}

/// Whether a token may have it (`b64token` of RFC 6750, section 2.1).
fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// What stands behind `Bearer` or `DPoP`, in any case. `None` for another scheme, which is none of ours; nothing for what only somebody else would take for a
/// token, such as one behind a tab or further on in a list.
fn token_of(line: &HeaderValue) -> Option<(Scheme, &[u8])> {
    let line = line.as_bytes();
    // As nearly everybody writes it.
    if let Some(token) = line.strip_prefix(b"Bearer ") {
        return Some((Scheme::Bearer, token.trim_ascii()));
    }
    behind_scheme(line.trim_ascii()).or_else(|| {
        let mut others = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        others.find_map(behind_scheme).map(|(scheme, _)| (scheme, &b""[..]))
    })
}

/// The token of one part of the header, where its scheme is ours.
fn behind_scheme(part: &[u8]) -> Option<(Scheme, &[u8])> {
    let schemes = [(Scheme::Bearer, &b"bearer"[..]), (Scheme::Dpop, b"dpop")];
    let (scheme, rest) = schemes.into_iter().find_map(|(scheme, name)| {
        let (own, rest) = part.split_at_checked(name.len())?;
        own.eq_ignore_ascii_case(name).then_some((scheme, rest))
    })?;
    match rest {
        [b' ', token @ ..] => Some((scheme, token.trim_ascii())),
        // The name of another scheme goes on; whatever else stands there ends it.
        [next, ..] if next.is_ascii_alphanumeric() || matches!(next, b'-' | b'_') => None,
        _ => Some((scheme, b"")),
    }
}
