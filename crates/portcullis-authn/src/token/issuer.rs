//! Whose tokens are accepted, and what must be true of them.
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_core::{ConfigError, ConfigErrors};
use serde_json::{Map, Value};

use super::claims::{ClaimNames, RoleNames};
use super::introspection::Introspection;
use super::rules::{Judged, Known, Rules};
use super::source::{Now, RemoteKeys, Source};
use crate::api_key::ApiKeys;
use crate::certificate::ClientCertificates;
use crate::jose::{Algorithm, Flaw, Keys, Token, object};

/// An issuer whose tokens are accepted. Cheap to clone.
///
/// A token that is signed is accepted when one of the issuer's keys has signed it with an algorithm that is allowed here, it is for us (`aud`), of the right
/// kind (`typ`), and in its time (`exp`, which it must have; `nbf` and `iat`, where it has them). No key is taken from a token, and no
/// address in it is asked. (RFC 7519, RFC 8725, RFC 9068.) Of another one the issuer is asked, where it has an [`Introspection`]: the same must be true of what it
/// answers, but for the kind, and `exp` may be missing. (RFC 7662.)
///
/// ```
/// use portcullis_authn::{AuthenticateLayer, ClaimNames, TokenIssuer, Keys};
/// # let jwks = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let issuer = TokenIssuer::builder("https://id.example")
///     .audience("shop")
///     .keys(Keys::from_jwks(jwks)?)
///     .claims(ClaimNames::new().roles("/roles"))
///     .role("shop-clerk", "clerk")
///     .build()?;
/// let layer = AuthenticateLayer::new().bearer(issuer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TokenIssuer(Arc<Inner>);

struct Inner {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    types: Vec<String>,
    /// A token has to say its type.
    needs_type: bool,
    keys: Source,
    introspection: Option<Introspection>,
}

/// Builds a [`TokenIssuer`].
#[must_use = "an issuer is made by `build`"]
pub struct TokenIssuerBuilder {
    inner: Inner,
}

/// How much clocks may differ at most.
const MOST_LEEWAY: Duration = Duration::from_secs(300);

impl TokenIssuer {
    /// Begins an issuer: what stands in `iss` of its tokens, letter for letter.
    pub fn builder(issuer: impl Into<Arc<str>>) -> TokenIssuerBuilder {
        TokenIssuerBuilder {
            inner: Inner {
                rules: Rules {
                    issuer: issuer.into(),
                    audiences: HashSet::new(),
                    leeway: Duration::from_secs(30),
                    claims: ClaimNames::default(),
                    roles: RoleNames::default(),
                    bound_only: false,
                },
                algorithms: vec![
                    Algorithm::Rs256,
                    Algorithm::Ps256,
                    Algorithm::Es256,
                    Algorithm::EdDsa,
                ],
                types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
                needs_type: false,
                keys: Source::None,
                introspection: None,
            },
        }
    }
    /// What stands in `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.0.rules.issuer
    }
    /// Every role that its tokens may give by [`TokenIssuerBuilder::role`].
    pub(crate) fn roles(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.rules.roles.roles()
    }

    /// Whether its tokens are read here.
    pub(crate) fn has_keys(&self) -> bool {
        !matches!(self.0.keys, Source::None)
    }
    /// How it is asked about tokens, if it is.
    pub fn introspection(&self) -> Option<&Introspection> {
        self.0.introspection.as_ref()
    }
    /// Whether a token must be bound to its holder.
    pub(crate) fn bound_only(&self) -> bool {
        self.0.rules.bound_only
    }
    /// Where its keys come from, if they are fetched.
    pub fn remote(&self) -> Option<&RemoteKeys> {
        self.0.keys.remote()
    }
    /// Its keys as they are now.
    pub(crate) fn keys(&self) -> Now {
        self.0.keys.now()
    }
    /// Which keys it has now, where it has any.
    pub(crate) fn key_version(&self) -> Option<u64> {
        self.0.keys.version()
    }

    /// Until when a token would be good that one of the issuer's keys has signed. It comes before the look at the keys, so that nobody has
    /// them fetched for a token that is not good anyhow.
    pub(crate) fn judge(
        &self,
        token: &Token<'_>,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<SystemTime, Flaw> {
        let Inner { algorithms, types, needs_type, .. } = &*self.0;
        if !algorithms.contains(&token.algorithm) {
            return Err(Flaw::Unacceptable("its algorithm is not one that is allowed here"));
        }
        if token.typ.as_ref().map_or(*needs_type, |typ| !types.contains(typ)) {
            return Err(Flaw::Unacceptable("its type is another one"));
        }
        let until = self.0.rules.check(claims, now, Known::Signed)?;
        until.ok_or(Flaw::Claim("exp", "is missing"))
    }

    /// Whose token it is.
    pub(crate) fn identity(&self, claims: Map<String, Value>) -> Result<Judged, Flaw> {
        self.0.rules.judged(claims, Known::Signed)
    }
    /// Whose token it is of which the issuer says this, and until when, if it says so.
    pub(crate) fn told(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<(Judged, Option<SystemTime>), Flaw> {
        let introspection = self.0.introspection.as_ref();
        let needs_audience = introspection.is_none_or(Introspection::needs_audience);
        let known = Known::Told { needs_audience };
        let until = self.0.rules.check(claims, now, known)?;
        Ok((self.0.rules.judged(claims.clone(), known)?, until))
    }
}

impl TokenIssuerBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(&mut self.inner);
        self
    }
    /// For whom its tokens are: a token has one of these in `aud`. At least one is needed.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.edit(|inner| inner.rules.audiences.extend([audience.into()]))
    }
    /// The keys that sign its tokens.
    pub fn keys(self, keys: Keys) -> Self {
        self.edit(|inner| inner.keys = Source::Given(Arc::new(keys)))
    }
    /// The keys that sign its tokens, from where it publishes them.
    pub fn remote_keys(self, keys: RemoteKeys) -> Self {
        self.edit(|inner| inner.keys = Source::Remote(keys))
    }
    /// How it is asked about tokens that are not signed, and about all of its tokens where it has no keys here.
    pub fn introspection(self, introspection: Introspection) -> Self {
        self.edit(|inner| inner.introspection = Some(introspection))
    }
    /// Takes only tokens that are bound to their holder: to a key that each request has a proof of (`DPoP`, RFC 9449), or to the certificate of the
    /// connection (RFC 8705). Default: takes others too; one that is bound is good for its holder alone in any case.
    pub fn bound_only(self) -> Self {
        self.edit(|inner| inner.rules.bound_only = true)
    }
    /// The algorithms that are allowed. Default: RS256, PS256, ES256 and `EdDSA`.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.edit(|inner| inner.algorithms = algorithms.into_iter().collect())
    }
    /// Which `typ` a token has, without `application/`; one that says none is refused then. Default: none, `JWT` or `at+jwt`, so that no other kind of
    /// token of the issuer, such as one that logs out, passes for one.
    pub fn types<T: AsRef<str>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types = types.into_iter().map(|typ| typ.as_ref().to_ascii_lowercase());
        self.edit(|inner| (inner.types, inner.needs_type) = (types.collect(), true))
    }
    /// How much our clock and the issuer's may differ. Default: 30 s; at most 5 min.
    pub fn leeway(self, leeway: Duration) -> Self {
        self.edit(|inner| inner.rules.leeway = leeway)
    }
    /// Where the claims are that an identity is made of.
    pub fn claims(self, claims: ClaimNames) -> Self {
        self.edit(|inner| inner.rules.claims = claims)
    }
    /// Whoever has this value in the claim for roles has this role. What is not named gives nothing.
    pub fn role(self, value: impl Into<String>, role: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.rules.roles.add(value.into(), role.into()))
    }
    /// A value in the claim for roles is the role of the same name. Say so only of an issuer that nobody else tells which roles there are.
    pub fn roles_as_they_are(self) -> Self {
        self.edit(|inner| inner.rules.roles.as_they_are = true)
    }
    /// Makes the issuer.
    ///
    /// # Errors
    /// It has no audience, no key and no introspection, no algorithm that one of its keys is for, a leeway of more than 5 min, or a claim that is no JSON pointer.
    pub fn build(self) -> Result<TokenIssuer, ConfigErrors> {
        let Self { inner } = self;
        let rules = &inner.rules;
        let place = format!("issuer `{}`", rules.issuer);
        let mut errors = ConfigErrors::default();
        let mut wrong = |message: &str| errors.push(ConfigError::new(place.clone(), message));
        if rules.issuer.is_empty() {
            wrong("it has no name: say what stands in `iss`");
        }
        if [ApiKeys::ISSUER, ClientCertificates::ISSUER].contains(&&*rules.issuer) {
            wrong("its name is that of a scheme of our own, whose callers would be its subjects");
        }
        if rules.audiences.is_empty() || rules.audiences.contains("") {
            wrong("it has no audience: say what stands in `aud` of tokens that are for us");
        }
        if inner.algorithms.is_empty() {
            wrong("no algorithm is allowed");
        }
        let allowed = &inner.algorithms;
        match &inner.keys {
            Source::None if inner.introspection.is_none() => {
                wrong("it has no key, and is not asked about its tokens");
            }
            Source::Given(keys) if keys.is_empty() => wrong("it has no key"),
            Source::Given(keys) if !allowed.iter().any(|algorithm| keys.have(*algorithm)) => {
                wrong("none of its keys is for an algorithm that is allowed");
            }
            Source::Remote(_) if allowed.iter().any(|algorithm| algorithm.is_symmetric()) => {
                wrong("a secret that is shared is not fetched: HS256 and the like need `keys`");
            }
            Source::None | Source::Given(_) | Source::Remote(_) => {}
        }
        let memory = inner.introspection.as_ref().map(Introspection::memory);
        if memory.is_some_and(|memory| memory > Introspection::LONGEST_MEMORY) {
            wrong(
                "what it says of a token is remembered for more than 5 minutes, while it may revoke it",
            );
        }
        if rules.leeway > MOST_LEEWAY {
            wrong("a leeway of more than 5 minutes keeps tokens good that are not");
        }
        for fault in rules.claims.faults() {
            wrong(&fault);
        }
        if errors.is_empty() { Ok(TokenIssuer(Arc::new(inner))) } else { Err(errors) }
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("issuer", &self.0.rules.issuer)
            .field("keys", &self.0.keys)
            .field("introspection", &self.0.introspection)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuerBuilder")
            .field("issuer", &self.inner.rules.issuer)
            .finish_non_exhaustive()
    }
}

/// The claims of a token.
pub(crate) fn claims_of(token: &Token<'_>) -> Result<Map<String, Value>, Flaw> {
    object(&token.payload)
        .ok_or(Flaw::Malformed("the claims are no JSON object, or have a name twice"))
}
