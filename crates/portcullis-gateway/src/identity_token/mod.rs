//! Tokens of our own, by which servers know who is calling.
mod jwks;
mod key;
mod memory;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use portcullis_core::{Identity, IdentityKind};
use serde_json::{Map, Value, json};

pub use self::jwks::JwksEndpoint;
pub use self::key::{SigningKey, SigningKeyError};
use self::memory::Memory;

/// Signs short-lived tokens that tell servers who is calling (JWT, RFC 7519), so that they need believe no header, and never see the caller's own
/// credentials. Servers verify them by the keys that [`jwks`](Self::jwks) answers with. Cheap to clone.
///
/// A token says `iss`, `aud`, `sub`, `iat`, `exp`; `sub_id` (RFC 9493), since a subject is somebody only with the issuer who vouches for it; and of
/// the caller what is known: `tenant`, `roles`, `scope`, `amr` (RFC 8176), `auth_time`, `sid`, and `client_id` of an application that calls for itself. It is good no longer than
/// the caller's own. It says nothing else of what the caller's own token says.
///
/// ```
/// use portcullis_gateway::{IdentityTokens, Proxy, SigningKey, Upstream};
/// # let pem = SigningKey::example_pem();
/// let tokens = IdentityTokens::new("https://gateway.example", SigningKey::from_pem(pem.as_bytes())?);
/// let orders = Upstream::builder("orders").server("http://127.0.0.1:9001").build()?;
/// let proxy = Proxy::to(&orders).identity_token(&tokens, "orders");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct IdentityTokens {
    issuer: Arc<str>,
    lifetime: Duration,
    /// The first one signs.
    keys: Arc<[SigningKey]>,
    /// What was signed, by audience and header: one for all routes.
    signed: Arc<Mutex<Signed>>,
}

type Signed = HashMap<(Box<str>, HeaderName), Arc<Memory>>;

impl IdentityTokens {
    /// How long a token is good where nobody says otherwise.
    pub const LIFETIME: Duration = Duration::from_secs(60);

    /// Tokens of this issuer, signed with this key.
    pub fn new(issuer: impl Into<Arc<str>>, key: SigningKey) -> Self {
        Self {
            issuer: issuer.into(),
            lifetime: Self::LIFETIME,
            keys: Arc::new([key]),
            signed: Arc::default(),
        }
    }
    /// Publishes this key too: one that is to sign soon, or that has signed until now. To change keys, publish the new one for as long as servers keep
    /// what they have fetched, then let it sign and publish the old one for as long as a token is good.
    #[must_use]
    pub fn also(self, key: SigningKey) -> Self {
        let keys = self.keys.iter().cloned().chain([key]);
        Self { keys: keys.collect(), signed: Arc::default(), ..self }
    }
    /// How long a token is good: from 10 s to 1 h. It is used for half of that, so that it is good for a while when it arrives. Default: 60 s.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, signed: Arc::default(), ..self }
    }
    /// Answers with the keys that the tokens are verified by.
    pub fn jwks(&self) -> JwksEndpoint {
        JwksEndpoint::new(&self.keys)
    }
    /// What the keys are called, the one that signs first.
    pub fn kids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.kid().to_owned()).collect()
    }
    /// What cannot work about them: an issuer without a name, a lifetime that is too short or too long, one key twice. A [`Proxy`](crate::Proxy) that is given
    /// such tokens answers 500 to everything, and says why in its [`faults`](crate::Proxy::faults).
    pub fn fault(&self) -> Option<String> {
        let bounds = Duration::from_secs(10)..=Duration::from_secs(3_600);
        if self.issuer.is_empty() {
            return Some("the issuer of identity tokens has no name".to_owned());
        }
        let kids = self.kids();
        let mut seen = HashSet::new();
        if let Some(twice) = kids.iter().find(|kid| !seen.insert(*kid)) {
            return Some(format!("the key `{twice}` of identity tokens is there twice"));
        }
        let fits = bounds.contains(&self.lifetime);
        (!fits).then(|| "identity tokens are good for 10 s to 1 h".to_owned())
    }
}

impl fmt::Debug for IdentityTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityTokens")
            .field("issuer", &self.issuer)
            .field("lifetime", &self.lifetime)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Tokens for one audience, in one header.
#[derive(Clone, Debug)]
pub(crate) struct Audience(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: IdentityTokens,
    audience: Box<str>,
    header: HeaderName,
    memory: Arc<Memory>,
}

impl Audience {
    pub(crate) fn new(tokens: &IdentityTokens, audience: &str, header: HeaderName) -> Self {
        let audience: Box<str> = audience.into();
        let mut signed = tokens.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = Arc::clone(signed.entry((audience.clone(), header.clone())).or_default());
        drop(signed);
        Self(Arc::new(Inner { tokens: tokens.clone(), audience, header, memory }))
    }
    pub(crate) fn header(&self) -> &HeaderName {
        &self.0.header
    }
    pub(crate) fn fault(&self) -> Option<String> {
        let nobody = self.0.audience.is_empty();
        let nobody = nobody.then(|| "an identity token is for nobody: say its audience".to_owned());
        self.0.tokens.fault().or(nobody)
    }
    /// The header's value for this caller.
    pub(crate) fn value(&self, identity: &Identity, now: SystemTime) -> Option<HeaderValue> {
        let Inner { tokens, memory, .. } = &*self.0;
        if let Some(value) = memory.get(identity, now) {
            return Some(value);
        }
        let Some(value) = self.sign(identity, now) else {
            tracing::error!("an identity token cannot be signed: the server is told of nobody");
            return None;
        };
        let half = now.checked_add(tokens.lifetime / 2).unwrap_or(now);
        // Not beyond the caller's own.
        let until = expiry(identity).map_or(half, |own| half.min(own));
        memory.remember(identity, value.clone(), until, now);
        Some(value)
    }
    fn sign(&self, identity: &Identity, now: SystemTime) -> Option<HeaderValue> {
        let Inner { tokens, audience, header, .. } = &*self.0;
        let key = tokens.keys.first()?;
        let until = now.checked_add(tokens.lifetime)?;
        let until = expiry(identity).map_or(until, |own| until.min(own.max(now)));
        let seconds =
            |time: SystemTime| Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs());
        let (now, until) = (seconds(now)?, seconds(until)?);
        let mut claims = json!({
            "iss": &*tokens.issuer,
            "aud": audience,
            "sub": identity.subject(),
            "iat": now,
            "exp": until,
            "sub_id": { "format": "iss_sub", "iss": identity.issuer(), "sub": identity.subject() },
        });
        describe(claims.as_object_mut()?, identity);
        let head = json!({ "alg": key.algorithm(), "kid": key.kid(), "typ": "JWT" });
        let parts = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
        let scheme = if *header == AUTHORIZATION { "Bearer " } else { "" };
        let mut value = HeaderValue::try_from(format!("{scheme}{signed}.{signature}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Until when the caller's own token is good.
fn expiry(identity: &Identity) -> Option<SystemTime> {
    let seconds = identity.claim("exp")?.as_u64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// What is known of a caller.
fn describe(claims: &mut Map<String, Value>, identity: &Identity) {
    let mut say = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    let list = |all: Vec<&str>| (!all.is_empty()).then(|| Value::from(all));
    let scopes: Vec<_> = identity.scopes().collect();
    say("tenant", identity.tenant().map(Value::from));
    say("roles", list(identity.roles_in_use().collect()));
    say("scope", (!scopes.is_empty()).then(|| scopes.join(" ").into()));
    say("amr", list(identity.methods().collect()));
    let proved = identity.authenticated_at();
    let proved = proved.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    say("auth_time", proved.map(|time| time.as_secs().into()));
    // An application on its own behalf is its own client (RFC 9068, section 2.2).
    let is_service = identity.kind() == IdentityKind::Service;
    say("client_id", is_service.then(|| identity.subject().into()));
    say("sid", identity.session().map(Value::from));
}
