//! One key, as RFC 7517 and RFC 7518 write it, and what it may be used for.
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Algorithm;

/// A key that signatures can be verified with.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) is_symmetric: bool,
    /// For each algorithm that it may be used with.
    verifiers: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Public(ParsedPublicKey),
    Shared(Box<hmac::Key>),
}

/// Why a key is left out. Others of the same set may be good.
pub(super) type Unusable = &'static str;

impl Key {
    /// Reads a key. The strength that RFC 7518 and RFC 8725 ask for is asked for.
    pub(super) fn read(jwk: &Map<String, Value>) -> Result<Self, Unusable> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|used| used != "sig") {
            return Err("it is not for signatures");
        }
        if let Some(operations) = jwk.get("key_ops") {
            let operations = operations.as_array().ok_or("`key_ops` is no list")?;
            if !operations.iter().any(|operation| operation == "verify") {
                return Err("it is not for verifying");
            }
        }
        let bytes = |name: &str| {
            let text = text(name).ok_or("a part of it is missing")?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of it is no Base64")
        };
        let kty = text("kty").ok_or("`kty` is missing")?;
        let mut verifiers = match (kty, text("crv")) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some(curve)) => elliptic(curve, &bytes("x")?, &bytes("y")?)?,
            ("OKP", Some("Ed25519")) => {
                vec![public(Algorithm::EdDsa, &signature::ED25519, &bytes("x")?)?]
            }
            ("oct", _) => shared(&bytes("k")?),
            _ => return Err("a kind of key that is not known here"),
        };
        if let Some(algorithm) = jwk.get("alg") {
            let algorithm = algorithm.as_str().and_then(|name| name.parse::<Algorithm>().ok());
            verifiers.retain(|(own, _)| Some(*own) == algorithm);
        }
        if verifiers.is_empty() {
            return Err("it is too weak, or for no algorithm that is known here");
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or("`kid` is no text")?.to_owned()),
        };
        Ok(Self { kid, is_symmetric: kty == "oct", verifiers })
    }
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(own, _)| *own == algorithm)
    }
    /// Whether this key has signed it with this algorithm.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verifier = self.verifiers.iter().find(|(own, _)| *own == algorithm);
        match verifier {
            None => false,
            Some((_, Verifier::Public(key))) => key.verify_sig(signed, signature).is_ok(),
            Some((_, Verifier::Shared(key))) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

fn public(
    algorithm: Algorithm,
    how: &'static dyn VerificationAlgorithm,
    key: &[u8],
) -> Result<(Algorithm, Verifier), Unusable> {
    let key = ParsedPublicKey::new(how, key).map_err(|_| "it is no public key, or too weak")?;
    Ok((algorithm, Verifier::Public(key)))
}

/// At least as long as the hash (RFC 7518, section 3.2).
fn shared(key: &[u8]) -> Vec<(Algorithm, Verifier)> {
    let all = [
        (Algorithm::Hs256, hmac::HMAC_SHA256, 32),
        (Algorithm::Hs384, hmac::HMAC_SHA384, 48),
        (Algorithm::Hs512, hmac::HMAC_SHA512, 64),
    ];
    let strong = all.into_iter().filter(|(.., least)| key.len() >= *least);
    strong
        .map(|(own, how, _)| (own, Verifier::Shared(Box::new(hmac::Key::new(how, key)))))
        .collect()
}

fn elliptic(curve: &str, x: &[u8], y: &[u8]) -> Result<Vec<(Algorithm, Verifier)>, Unusable> {
    let (algorithm, how, length): (_, &'static dyn VerificationAlgorithm, _) = match curve {
        "P-256" => (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return Err("a curve that is not known here"),
    };
    if x.len() != length || y.len() != length {
        return Err("its coordinates are not as long as those of its curve");
    }
    // The point, uncompressed (SEC 1, section 2.3.3).
    let point = [&[4], x, y].concat();
    Ok(vec![public(algorithm, how, &point)?])
}

fn rsa(n: &[u8], e: &[u8]) -> Result<Vec<(Algorithm, Verifier)>, Unusable> {
    if is_roca(n) {
        return Err("it was made by a generator whose keys can be factored (CVE-2017-15361)");
    }
    let all: [(_, &'static dyn VerificationAlgorithm); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    // RSAPublicKey of RFC 8017, appendix A.1.1.
    let key = der(0x30, &[der(2, &unsigned(n)), der(2, &unsigned(e))].concat());
    all.into_iter().map(|(algorithm, how)| public(algorithm, how, &key)).collect()
}

/// A number without leading zeros, except for the one that keeps it positive.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    [sign, number].concat()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let short = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match short {
        [] => out.push(0),
        [one] if *one < 0x80 => out.push(*one),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Whether a modulus has the fingerprint of the keys of CVE-2017-15361 (Nemec and others, "The Return of Coppersmith's Attack"): modulo each of
/// these primes it is a power of 65537.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * 65_537 % prime;
            if power == 1 {
                return false;
            }
        }
    })
}
