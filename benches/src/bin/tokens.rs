//! What a bearer token costs: the authentication layer by itself, with a token that it sees for the first time, one that it knows and one that is
//! refused, beside the crate `jsonwebtoken` alone, and beside the least that knowing a token takes: its digest, and a look into a map. Run by `cargo xtask bench tokens`, which counts the instructions; `time` shows microseconds.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use axum::http::{HeaderName, HeaderValue, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode};
use portcullis::authn::{AuthenticateLayer, Introspection, Keys, TokenIssuer};
use portcullis::{Body, BoxError, Clock};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VARIANTS: [&str; 9] = [
    "no token",
    "a known token",
    LOOK_UP,
    "an opaque token that is known",
    "RS256, first",
    "ES256, first",
    "ES256, 8 KiB, refused",
    "RS256, jsonwebtoken alone",
    "ES256, jsonwebtoken alone",
];

/// No layer: what a known token cannot cost less than.
const LOOK_UP: &str = "SHA-256 of the known token and a look-up alone";

/// What makes a token one of nearly 8 KiB, above which none is read.
const PADDING: usize = 5_600;

fn main() -> Result<(), BoxError> {
    portcullis_benches::timed("tokens", &VARIANTS, run)
}

/// Two tokens of one key, its JWK, and its public half as jsonwebtoken wants it.
struct Made {
    token: String,
    jwks: String,
    key: DecodingKey,
    validation: Validation,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn made(algorithm: &str, padding: usize) -> Result<Made, BoxError> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../../keys/rsa.der"))?;
    let p256 = include_bytes!("../../keys/p256.der");
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256)?;
    let now = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let header = json!({"alg": algorithm, "kid": "one", "typ": "at+jwt"}).to_string();
    let mut claims = json!({
        "iss": "https://id.example", "aud": "shop", "sub": "5f2a7c1e-ada", "exp": now + 3_600, "iat": now,
        "scope": "books:read books:write", "roles": ["reader", "clerk"], "org": "acme",
    });
    if let Some(claims) = claims.as_object_mut().filter(|_| padding > 0) {
        claims.insert("more".to_owned(), json!("a".repeat(padding)));
    }
    let signed = format!("{}.{}", base64(header), base64(claims.to_string()));
    let (signature, jwk, key, known) = if algorithm == "RS256" {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)?;
        let (n, e) = (rsa.public_key().modulus(), rsa.public_key().exponent());
        let (n, e) = (
            base64(n.big_endian_without_leading_zero()),
            base64(e.big_endian_without_leading_zero()),
        );
        let key = DecodingKey::from_rsa_components(&n, &e)?;
        (
            signature,
            json!({"kty": "RSA", "kid": "one", "n": n, "e": e}),
            key,
            jsonwebtoken::Algorithm::RS256,
        )
    } else {
        let signature = p256.sign(&random, signed.as_bytes())?.as_ref().to_vec();
        let point = p256.public_key().as_ref().to_vec();
        let (x, y) = (
            base64(point.get(1..33).unwrap_or_default()),
            base64(point.get(33..).unwrap_or_default()),
        );
        let key = DecodingKey::from_ec_components(&x, &y)?;
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "one", "x": x, "y": y});
        (signature, jwk, key, jsonwebtoken::Algorithm::ES256)
    };
    let mut validation = Validation::new(known);
    validation.set_audience(&["shop"]);
    validation.set_issuer(&["https://id.example"]);
    let token = format!("{signed}.{}", base64(signature));
    Ok(Made { token, jwks: json!({ "keys": [jwk] }).to_string(), key, validation })
}

/// The issuer is asked about its tokens, and this is what it says.
fn asked() -> Result<AuthenticateLayer, BoxError> {
    let answer = json!({
        "active": true, "aud": "shop", "sub": "5f2a7c1e-ada", "scope": "books:read books:write",
    });
    let answer = answer.to_string().into_bytes();
    let introspection = Introspection::new(move |_: String| {
        let answer = answer.clone();
        async { Ok::<_, BoxError>(answer) }
    });
    let introspection = introspection.remember(Introspection::LONGEST_MEMORY);
    let issuer = TokenIssuer::builder("https://id.example").audience("shop");
    Ok(AuthenticateLayer::new().bearer(issuer.introspection(introspection).build()?))
}

fn layer(made: &Made, remembered: usize) -> Result<AuthenticateLayer, BoxError> {
    let keys = Keys::from_jwks(made.jwks.as_bytes())?;
    let issuer = TokenIssuer::builder("https://id.example").audience("shop").keys(keys);
    Ok(AuthenticateLayer::new().bearer(issuer.build()?).remembered_tokens(remembered))
}

/// The same token with another signature, which looks like one.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
    format!("{signed}.{}", signature.chars().rev().skip(1).collect::<String>() + "A")
}

/// What a token is known by.
fn of(token: &str) -> Result<[u8; 32], BoxError> {
    Ok(digest(&SHA256, token.as_bytes()).as_ref().try_into()?)
}

/// How long so many took.
fn run(variant: &str, count: u32) -> Result<Duration, BoxError> {
    let is_refused = variant.ends_with("refused");
    let algorithm = if variant.starts_with("ES256") { "ES256" } else { "RS256" };
    let mut made = made(algorithm, if is_refused { PADDING } else { 0 })?;
    if is_refused {
        made.token = forged(&made.token);
    }
    let status = if is_refused { 401 } else { 200 };
    let known = HashMap::from([(of(&made.token)?, 7)]);
    let (clock, handler) = (Clock::system(), service_fn(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let is_opaque = variant.starts_with("an opaque token");
        let layer = || layer(&made, if variant.ends_with("first") { 0 } else { 10 });
        let service = if is_opaque { asked()? } else { layer()? }.layer(handler);
        // 43 characters are 256 bits.
        let token = if is_opaque { "o".repeat(43) } else { made.token.clone() };
        // As from a server's shared buffer: cloning it allocates nothing.
        let token = HeaderValue::try_from(format!("Bearer {token}"))?;
        // A request has a header more with a token: without one it has another.
        let name = if variant == "no token" { "x-other" } else { "authorization" };
        let header = (HeaderName::from_static(name), token);
        let header = &header;
        ask(&service, header, status).await?;
        let (region, began) = (Region::new(ALLOCATOR), clock.now());
        for _ in 0..count {
            if variant.ends_with("jsonwebtoken alone") {
                decode::<Map<String, Value>>(&made.token, &made.key, &made.validation)?;
            } else if variant == LOOK_UP {
                black_box(known.get(&of(black_box(&made.token))?));
            } else {
                ask(&service, header, status).await?;
            }
        }
        let (took, counted) = (clock.now() - began, region.change());
        println!("allocations {}", counted.allocations);
        Ok(took)
    })
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

async fn ask<S>(
    service: &S,
    (name, value): &(HeaderName, HeaderValue),
    status: u16,
) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let request = Request::get("/books/7").header(name, value).body(Body::empty())?;
    let Ok(response) = service.clone().oneshot(request).await;
    assert_eq!(response.status(), status, "the benchmark measures something else");
    Ok(())
}
