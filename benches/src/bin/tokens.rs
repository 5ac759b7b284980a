//! What a bearer token costs: the authentication layer by itself, with a token that it sees for the first time and one that it knows, beside the
//! crate `jsonwebtoken` alone. Run by `cargo xtask bench tokens`, which counts the instructions; `time` shows microseconds.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use axum::http::{HeaderValue, Request, Response};
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

const VARIANTS: [&str; 7] = [
    "no token",
    "a known token",
    "an opaque token that is known",
    "RS256, first",
    "ES256, first",
    "RS256, jsonwebtoken alone",
    "ES256, jsonwebtoken alone",
];

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

fn made(algorithm: &str) -> Result<Made, BoxError> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../../keys/rsa.der"))?;
    let p256 = include_bytes!("../../keys/p256.der");
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256)?;
    let now = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let header = json!({"alg": algorithm, "kid": "one", "typ": "at+jwt"}).to_string();
    let claims = json!({
        "iss": "https://id.example", "aud": "shop", "sub": "5f2a7c1e-ada", "exp": now + 3_600, "iat": now,
        "scope": "books:read books:write", "roles": ["reader", "clerk"], "org": "acme",
    });
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

/// How long so many took.
fn run(variant: &str, count: u32) -> Result<Duration, BoxError> {
    let made = made(if variant.starts_with("ES256") { "ES256" } else { "RS256" })?;
    let (clock, handler) = (Clock::system(), service_fn(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let is_opaque = variant.starts_with("an opaque token");
        let layer = || layer(&made, if variant.ends_with("first") { 0 } else { 10 });
        let known = if is_opaque { asked()? } else { layer()? }.layer(handler);
        // 43 characters are 256 bits.
        let token = if is_opaque { "o".repeat(43) } else { made.token.clone() };
        let token = (variant != "no token").then(|| format!("Bearer {token}"));
        // As from a server's shared buffer: cloning it allocates nothing.
        let token = token.map(HeaderValue::try_from).transpose()?;
        let token = token.as_ref();
        ask(&known, token).await?;
        let (region, began) = (Region::new(ALLOCATOR), clock.now());
        for _ in 0..count {
            if variant.ends_with("jsonwebtoken alone") {
                decode::<Map<String, Value>>(&made.token, &made.key, &made.validation)?;
            } else {
                ask(&known, token).await?;
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

async fn ask<S>(service: &S, token: Option<&HeaderValue>) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let mut request = Request::get("/books/7");
    if let Some(token) = token {
        request = request.header("authorization", token.clone());
    }
    let Ok(response) = service.clone().oneshot(request.body(Body::empty())?).await;
    assert_eq!(response.status(), 200, "the benchmark measures what succeeds");
    Ok(())
}
