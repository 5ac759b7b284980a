//! Whose tokens are accepted, and what must be true of them.
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_core::{ConfigError, ConfigErrors, Identity, IdentityBuilder, IdentityKind};
use serde_json::{Map, Value};

use super::claims::{ClaimNames, RoleNames, text, texts, time};
use super::source::{Now, RemoteKeys, Source};
use crate::api_key::ApiKeys;
use crate::certificate::ClientCertificates;
use crate::jose::{Algorithm, Flaw, Keys, Token, object};

/// An issuer whose tokens are accepted. Cheap to clone.
///
/// A token is accepted when one of the issuer's keys has signed it with an algorithm that is allowed here, it is for us (`aud`), of the right
/// kind (`typ`), and in its time (`exp`, which it must have; `nbf` and `iat`, where it has them). No key is taken from a token, and no
/// address in it is asked. (RFC 7519, RFC 8725, RFC 9068.)
///
/// ```
/// use portcullis_authn::{AuthenticateLayer, ClaimNames, JwtIssuer, Keys};
/// # let jwks = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let issuer = JwtIssuer::builder("https://id.example")
///     .audience("shop")
///     .keys(Keys::from_jwks(jwks)?)
///     .claims(ClaimNames::new().roles("/roles"))
///     .role("shop-clerk", "clerk")
///     .build()?;
/// let layer = AuthenticateLayer::new().bearer(issuer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JwtIssuer(Arc<Inner>);

struct Inner {
    issuer: Arc<str>,
    audiences: HashSet<String>,
    algorithms: Vec<Algorithm>,
    types: Vec<String>,
    /// A token has to say its type.
    needs_type: bool,
    leeway: Duration,
    keys: Source,
    claims: ClaimNames,
    roles: RoleNames,
}

/// Builds a [`JwtIssuer`].
#[must_use = "an issuer is made by `build`"]
pub struct JwtIssuerBuilder {
    inner: Inner,
}

/// How much clocks may differ at most.
const MOST_LEEWAY: Duration = Duration::from_secs(300);

impl JwtIssuer {
    /// Begins an issuer: what stands in `iss` of its tokens, letter for letter.
    pub fn builder(issuer: impl Into<Arc<str>>) -> JwtIssuerBuilder {
        JwtIssuerBuilder {
            inner: Inner {
                issuer: issuer.into(),
                audiences: HashSet::new(),
                algorithms: vec![
                    Algorithm::Rs256,
                    Algorithm::Ps256,
                    Algorithm::Es256,
                    Algorithm::EdDsa,
                ],
                types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
                needs_type: false,
                leeway: Duration::from_secs(30),
                keys: Source::Given(Arc::default()),
                claims: ClaimNames::default(),
                roles: RoleNames::default(),
            },
        }
    }
    /// What stands in `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }
    /// Every role that its tokens may give by [`JwtIssuerBuilder::role`].
    pub(crate) fn roles(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.roles.roles()
    }

    /// Where its keys come from, if they are fetched.
    pub fn remote(&self) -> Option<&RemoteKeys> {
        self.0.keys.remote()
    }
    /// Its keys as they are now.
    pub(crate) fn keys(&self) -> Now {
        self.0.keys.now()
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
        self.check(claims, now)
    }

    /// Whether the claims are for us, and for now; until when.
    fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, Flaw> {
        let is_ours = |audience: &Value| {
            audience.as_str().is_some_and(|audience| self.0.audiences.contains(audience))
        };
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => return Err(Flaw::Claim("aud", "is missing")),
        };
        if !is_for_us {
            return Err(Flaw::Claim("aud", "is somebody else"));
        }
        let at = |name: &'static str| {
            let wrong = Flaw::Claim(name, "is no whole number of seconds");
            let seconds = time(claims, name).map_err(|()| wrong)?;
            let Some(seconds) = seconds else { return Ok(None) };
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            at.map(Some).ok_or(wrong)
        };
        let until = at("exp")?.ok_or(Flaw::Claim("exp", "is missing"))?;
        let until =
            until.checked_add(self.0.leeway).ok_or(Flaw::Claim("exp", "is too far away"))?;
        if now >= until {
            return Err(Flaw::Claim("exp", "is over"));
        }
        for name in ["nbf", "iat"] {
            if at(name)?.is_some_and(|from| from > now + self.0.leeway) {
                return Err(Flaw::Claim(name, "is in the future"));
            }
        }
        Ok(until)
    }

    /// Whose token it is.
    pub(crate) fn identity(&self, claims: Map<String, Value>) -> Result<Identity, Flaw> {
        let whole = Value::Object(claims);
        let named = |name: &str| whole.get(name).and_then(Value::as_str);
        let subject = named("sub").filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(Flaw::Claim("sub", "is missing, or no text"))?;
        // An application that has come on its own behalf is its own subject (RFC 9068, section 2.2).
        let is_service = named("client_id").or(named("azp")) == Some(subject);
        let kind = if is_service { IdentityKind::Service } else { IdentityKind::User };
        let places = &self.0.claims;
        let mut identity = Identity::builder(Arc::clone(&self.0.issuer), subject)
            .kind(kind)
            .method("jwt")
            .roles(self.0.roles.of(&texts(&whole, places.roles.as_ref())))
            .scopes(texts(&whole, Some(&places.scopes)));
        if let Some(tenant) = text(&whole, places.tenant.as_ref()) {
            identity = identity.tenant(tenant);
        }
        if let Some(plan) = text(&whole, places.plan.as_ref()) {
            identity = identity.plan(plan);
        }
        if let Some(session) = named("sid") {
            identity = identity.session(session);
        }
        if let Some(seconds) = whole.get("auth_time").and_then(Value::as_u64) {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            identity = time.into_iter().fold(identity, IdentityBuilder::authenticated_at);
        }
        let Value::Object(claims) = whole else { return Err(Flaw::Malformed("no object")) };
        Ok(identity.claims(claims).build())
    }
}

impl JwtIssuerBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(&mut self.inner);
        self
    }
    /// For whom its tokens are: a token has one of these in `aud`. At least one is needed.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.edit(|inner| inner.audiences.extend([audience.into()]))
    }
    /// The keys that sign its tokens.
    pub fn keys(self, keys: Keys) -> Self {
        self.edit(|inner| inner.keys = Source::Given(Arc::new(keys)))
    }
    /// The keys that sign its tokens, from where it publishes them.
    pub fn remote_keys(self, keys: RemoteKeys) -> Self {
        self.edit(|inner| inner.keys = Source::Remote(keys))
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
        self.edit(|inner| inner.leeway = leeway)
    }
    /// Where the claims are that an identity is made of.
    pub fn claims(self, claims: ClaimNames) -> Self {
        self.edit(|inner| inner.claims = claims)
    }
    /// Whoever has this value in the claim for roles has this role. What is not named gives nothing.
    pub fn role(self, value: impl Into<String>, role: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.roles.add(value.into(), role.into()))
    }
    /// A value in the claim for roles is the role of the same name. Say so only of an issuer that nobody else tells which roles there are.
    pub fn roles_as_they_are(self) -> Self {
        self.edit(|inner| inner.roles.as_they_are = true)
    }
    /// Makes the issuer.
    ///
    /// # Errors
    /// It has no audience, no key, no algorithm that one of its keys is for, a leeway of more than 5 min, or a claim that is no JSON pointer.
    pub fn build(self) -> Result<JwtIssuer, ConfigErrors> {
        let Self { inner } = self;
        let place = format!("issuer `{}`", inner.issuer);
        let mut errors = ConfigErrors::default();
        let mut wrong = |message: &str| errors.push(ConfigError::new(place.clone(), message));
        if inner.issuer.is_empty() {
            wrong("it has no name: say what stands in `iss`");
        }
        if [ApiKeys::ISSUER, ClientCertificates::ISSUER].contains(&&*inner.issuer) {
            wrong("its name is that of a scheme of our own, whose callers would be its subjects");
        }
        if inner.audiences.is_empty() || inner.audiences.contains("") {
            wrong("it has no audience: say what stands in `aud` of tokens that are for us");
        }
        if inner.algorithms.is_empty() {
            wrong("no algorithm is allowed");
        }
        if let Source::Given(keys) = &inner.keys {
            if keys.is_empty() {
                wrong("it has no key");
            } else if !inner.algorithms.iter().any(|algorithm| keys.have(*algorithm)) {
                wrong("none of its keys is for an algorithm that is allowed");
            }
        } else if inner.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            wrong("a secret that is shared is not fetched: HS256 and the like need `keys`");
        }
        if inner.leeway > MOST_LEEWAY {
            wrong("a leeway of more than 5 minutes keeps tokens good that are not");
        }
        for fault in inner.claims.faults() {
            wrong(&fault);
        }
        if errors.is_empty() { Ok(JwtIssuer(Arc::new(inner))) } else { Err(errors) }
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("issuer", &self.0.issuer)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JwtIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuerBuilder")
            .field("issuer", &self.inner.issuer)
            .finish_non_exhaustive()
    }
}

/// The claims of a token.
pub(crate) fn claims_of(token: &Token<'_>) -> Result<Map<String, Value>, Flaw> {
    object(&token.payload)
        .ok_or(Flaw::Malformed("the claims are no JSON object, or have a name twice"))
}
