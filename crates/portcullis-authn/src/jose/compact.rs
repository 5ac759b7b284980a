//! The compact form of a signed token: three parts in Base64 (RFC 7515, section 7.1).
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::object;
use super::{Algorithm, BroughtKey, Flaw};

/// A token, taken apart. Nothing of it is to be believed before [`Keys::verify`](super::Keys::verify).
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// What kind of token it says it is, in lower case and without `application/`.
    pub(crate) typ: Option<String>,
    /// What was signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    brought: Option<Map<String, Value>>,
}

/// Names of the header by which a token would change how it is read (RFC 7515, section 4.1.11; RFC 7797; RFC 7516). Nobody here does.
const CHANGING: [&str; 4] = ["crit", "b64", "zip", "enc"];

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// Keys that it brings along (`jwk`, `x5c`), or says where to find (`jku`, `x5u`), are none that it is verified with. Only a proof has its key
    /// with it: [`brought`](Self::brought).
    pub(crate) fn read(token: &'a str) -> Result<Self, Flaw> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::Malformed("it is not three parts"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header = decode(header, "the header is no Base64")?;
        let payload = decode(payload, "the payload is no Base64")?;
        let signature = decode(signature, "the signature is no Base64")?;
        let header = object(&header).ok_or(Flaw::Malformed("the header is no JSON object"))?;
        if CHANGING.iter().any(|name| header.contains_key(*name)) {
            return Err(Flaw::Unacceptable("its header asks for what is not done here"));
        }
        let text = |name: &str, wrong| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Flaw::Malformed(wrong)),
        };
        let algorithm =
            text("alg", "`alg` is no text")?.ok_or(Flaw::Malformed("`alg` is missing"))?;
        let algorithm =
            algorithm.parse().map_err(|_| Flaw::Unacceptable("an unknown algorithm"))?;
        let kid = text("kid", "`kid` is no text")?.map(str::to_owned);
        let typ = text("typ", "`typ` is no text")?.map(str::to_ascii_lowercase);
        let typ =
            typ.map(|typ| typ.strip_prefix("application/").map_or(typ.clone(), str::to_owned));
        if text("cty", "`cty` is no text")?.is_some_and(|kind| kind.eq_ignore_ascii_case("jwt")) {
            return Err(Flaw::Unacceptable("a token within a token"));
        }
        let brought = match header.get("jwk") {
            Some(Value::Object(jwk)) => Some(jwk.clone()),
            _ => None,
        };
        Ok(Self { algorithm, kid, typ, signed, signature, payload, brought })
    }
    /// The key that it brings along, if that has signed it: for who looks at nothing but that it is one certain key.
    pub(crate) fn brought(&self) -> Result<BroughtKey, Flaw> {
        let jwk = self.brought.as_ref().ok_or(Flaw::Malformed("it has no `jwk`"))?;
        BroughtKey::verify(jwk, self.algorithm, self.signed.as_bytes(), &self.signature)
    }
}

/// Base64 in the one spelling that RFC 7515 has: no padding, no other characters, no bits left over.
fn decode(text: &str, flaw: &'static str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Malformed(flaw))
}
