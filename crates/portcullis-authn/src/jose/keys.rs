//! The keys of an issuer.
use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::json::object;
use super::key::Key;
use super::{Algorithm, Flaw, Token};

/// The keys of an issuer: a JWK Set (RFC 7517, section 5), read once.
///
/// A key that is not for verifying signatures, too weak, or of a kind that is not known here is left out. What would be ambiguous is an
/// error: two keys of one `kid`, or shared secrets beside public keys.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
    /// Why others were left out.
    left_out: Vec<String>,
}

/// A set of keys that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// It is no JSON, has doubled names, or has no list of keys.
    #[error("it is no JWK Set: a JSON object with a list `keys` of objects, and no name twice")]
    NoSet,
    /// Nobody could say which is meant.
    #[error("two keys have the `kid` {0:?}")]
    SameKid(String),
    /// Whoever knows the public keys could sign with a shared one in mind.
    #[error("it has shared secrets beside public keys")]
    Mixed,
    /// There is no key that could be used.
    #[error("it has no key that can be used: {0}")]
    Empty(String),
}

impl Keys {
    /// Reads a JWK Set, or a single key.
    ///
    /// # Errors
    /// It is not one, is ambiguous, or no key in it can be used.
    pub fn from_jwks(text: &[u8]) -> Result<Self, KeysError> {
        let set = object(text).ok_or(KeysError::NoSet)?;
        Self::of(&set)
    }
    fn of(set: &Map<String, Value>) -> Result<Self, KeysError> {
        let jwks: Vec<_> = match set.get("keys") {
            None if set.contains_key("kty") => vec![Some(set)],
            Some(Value::Array(keys)) => keys.iter().map(Value::as_object).collect(),
            _ => return Err(KeysError::NoSet),
        };
        let (mut keys, mut left_out, mut kids) = (Vec::<Key>::new(), Vec::new(), HashSet::new());
        for (at, jwk) in jwks.into_iter().enumerate() {
            let jwk = jwk.ok_or(KeysError::NoSet)?;
            let text = |name: &str| jwk.get(name).and_then(Value::as_str);
            // Also where one of them cannot be used: it may be the one that is meant.
            if let Some(kid) = text("kid").filter(|_| text("use") != Some("enc"))
                && !kids.insert(kid)
            {
                return Err(KeysError::SameKid(kid.to_owned()));
            }
            match Key::read(jwk) {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(format!("key {at}: {why}")),
            }
        }
        if keys.iter().any(|key| key.is_symmetric) && keys.iter().any(|key| !key.is_symmetric) {
            return Err(KeysError::Mixed);
        }
        if keys.is_empty() {
            return Err(KeysError::Empty(left_out.join("; ")));
        }
        Ok(Self { keys, left_out })
    }
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
    /// Whether one of them is for this algorithm.
    pub(crate) fn have(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.is_for(algorithm))
    }
    /// Why keys of the set were left out, for the log.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Whether one of the keys has signed the token: the one that it names, or the only one that it can mean.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<(), Flaw> {
        let mut fitting = self.keys.iter().filter(|key| match (&token.kid, &key.kid) {
            (Some(named), Some(kid)) => named == kid,
            // A key without a name is meant by whoever names none, and by everybody where it is the only one.
            (Some(_), None) => self.keys.len() == 1,
            (None, _) => key.is_for(token.algorithm),
        });
        let (Some(key), None) = (fitting.next(), fitting.next()) else {
            return Err(Flaw::UnknownKey);
        };
        if !key.is_for(token.algorithm) {
            return Err(Flaw::Unacceptable("its algorithm is not that of its key"));
        }
        let is_good = key.verify(token.algorithm, token.signed.as_bytes(), &token.signature);
        if is_good { Ok(()) } else { Err(Flaw::Signature) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids = self.keys.iter().map(|key| key.kid.as_deref().unwrap_or("-"));
        f.debug_list().entries(kids).finish()
    }
}
