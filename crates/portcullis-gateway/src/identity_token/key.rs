//! Keys that tokens are signed with.
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A key that tokens are signed with: P-256 (ES256), which every library verifies, or Ed25519 (`EdDSA`). Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: Pair,
    jwk: Value,
    kid: String,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// A text that is no key to sign with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// There is no private key in it.
    #[error(
        "there is no private key in PEM: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"
    )]
    NoPem,
    /// There is one, of another kind.
    #[error("the key is neither one of P-256 nor of Ed25519, or is damaged")]
    OtherKind,
}

impl SigningKey {
    /// Reads a private key in PEM: PKCS #8, or SEC 1 for P-256.
    ///
    /// # Errors
    /// There is none, or it is of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SigningKeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SigningKeyError::NoPem)?;
        let der = der.secret_der();
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(Pair::Es256)
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::EdDsa))
            .map_err(|_| SigningKeyError::OtherKind)?;
        let mut jwk = pair.jwk().ok_or(SigningKeyError::OtherKind)?;
        // The members that make a key, in the order of their names (RFC 7638); `Value` writes them so.
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.to_string().as_bytes()));
        let jwk = {
            let members = [("use", "sig"), ("alg", pair.algorithm()), ("kid", &kid)];
            let members = members.map(|(name, value)| (name.to_owned(), value.into()));
            jwk.as_object_mut().ok_or(SigningKeyError::OtherKind)?.extend(members);
            jwk
        };
        Ok(Self(Arc::new(Inner { pair, jwk, kid })))
    }
    /// The name that tokens call it by: its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.0.kid
    }
    pub(super) fn algorithm(&self) -> &'static str {
        self.0.pair.algorithm()
    }
    /// The public key (RFC 7517).
    pub(super) fn jwk(&self) -> &Value {
        &self.0.jwk
    }
    pub(super) fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let signature = match &self.0.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), text).ok()?,
            Pair::EdDsa(pair) => pair.sign(text),
        };
        Some(signature.as_ref().to_vec())
    }
    /// A key for examples, which everybody knows.
    #[doc(hidden)]
    pub fn example_pem() -> &'static str {
        // The example of RFC 8410, section 10.3.
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
    }
}

impl Pair {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }
    fn jwk(&self) -> Option<Value> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(match self {
            Self::Es256(pair) => {
                // The point, uncompressed (SEC 1, section 2.3.3).
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                json!({ "crv": "P-256", "kty": "EC", "x": base64(x), "y": base64(y) })
            }
            Self::EdDsa(pair) => {
                let x = base64(pair.public_key().as_ref());
                json!({ "crv": "Ed25519", "kty": "OKP", "x": x })
            }
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.0.kid).finish()
    }
}
