//! Tokens that only their holder can use: what stands in `cnf` (RFC 7800).
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jose::Flaw;

/// What the holder of a token has, by its SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The thumbprint of a key that each request comes with a proof of (RFC 9449, section 6.1).
    pub(crate) key: Option<[u8; 32]>,
    /// The digest of the certificate of the connection (RFC 8705, section 3.1).
    pub(crate) certificate: Option<[u8; 32]>,
}

impl Binding {
    /// What a token is bound to. One that is bound in a way that is not known here is good for nobody.
    pub(super) fn of(claims: &Map<String, Value>) -> Result<Self, Flaw> {
        let mut binding = Self::default();
        let says_proof = claims.get("token_type").and_then(Value::as_str);
        let Some(bound) = claims.get("cnf") else {
            return match says_proof {
                Some(kind) if kind.eq_ignore_ascii_case("dpop") => {
                    Err(Flaw::Claim("cnf", "is missing, though the token needs a proof"))
                }
                _ => Ok(binding),
            };
        };
        let unknown = Flaw::Claim("cnf", "binds the token in a way that is not known here");
        let bound = bound.as_object().filter(|bound| !bound.is_empty()).ok_or(unknown)?;
        for (how, what) in bound {
            let digest = what.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            let digest = digest.and_then(|digest| digest.try_into().ok()).ok_or(unknown)?;
            match how.as_str() {
                "jkt" => binding.key = Some(digest),
                "x5t#S256" => binding.certificate = Some(digest),
                _ => return Err(unknown),
            }
        }
        Ok(binding)
    }
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
