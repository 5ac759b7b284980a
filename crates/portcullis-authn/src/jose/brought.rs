//! The key that a proof has with it.
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::key::Key;
use super::{Algorithm, Flaw};

/// A public key, by its thumbprint.
pub(crate) struct BroughtKey {
    /// SHA-256 of what makes the key (RFC 7638).
    pub(crate) thumbprint: [u8; 32],
}

/// What only the owner of a key knows (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl BroughtKey {
    /// The key, if it has signed this.
    pub(super) fn verify(
        jwk: &Map<String, Value>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<Self, Flaw> {
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(Flaw::Unacceptable("its key is not a public one"));
        }
        let key = Key::read(jwk).map_err(Flaw::Unacceptable)?;
        if !key.is_for(algorithm) {
            return Err(Flaw::Unacceptable("its algorithm is not that of its key"));
        }
        if !key.verify(algorithm, signed, signature) {
            return Err(Flaw::Signature);
        }
        let thumbprint = thumbprint(jwk).ok_or(Flaw::Malformed("its key lacks a part"))?;
        Ok(Self { thumbprint })
    }
}

/// The digest of the parts that make a key, in the order of their names (RFC 7638, section 3).
fn thumbprint(jwk: &Map<String, Value>) -> Option<[u8; 32]> {
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let part = |name: &&str| Some(format!("\"{name}\":{}", jwk.get(*name)?));
    let parts: Option<Vec<_>> = names.iter().map(part).collect();
    let text = format!("{{{}}}", parts?.join(","));
    digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::thumbprint;

    /// The examples of RFC 7638, section 3.1, and RFC 8037, appendix A.3.
    #[test]
    fn a_thumbprint_is_that_of_the_rfcs() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        for (jwk, want) in [
            (
                json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}),
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let thumbprint = thumbprint(jwk.as_object().unwrap()).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.encode(thumbprint), want);
        }
    }
}
