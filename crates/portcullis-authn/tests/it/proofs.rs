//! Tokens that only their holders can use.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use portcullis_authn::AuthenticateLayer;
use portcullis_core::{Body, Connection, EdgeLayer, Tls};
use portcullis_testkit::{FakeTime, request};
use serde_json::{Value, json};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::introspection::{Desk, NAME, seconds};
use crate::rotation::whoami;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    base64(digest(&SHA256, bytes.as_ref()))
}

/// Whoever has a token, and the key that it is bound to.
struct Holder(EcdsaKeyPair);

impl Holder {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }
    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
    }
    fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let part = |name: &str| jwk[name].as_str().unwrap().to_owned();
        let (x, y) = (part("x"), part("y"));
        sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
    }
    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(signature))
    }
}

/// What a proof of a request for `/orders` says.
fn claims(now: u64, id: &str) -> Value {
    json!({
        "jti": id, "htm": "GET", "htu": "https://shop.example/orders", "iat": now, "ath": sha256(TOKEN),
    })
}

const TOKEN: &str = "opaque-and-bound";

/// A desk that says that this token is bound so.
fn desk(bound: &Value) -> Desk {
    let desk = Desk::default();
    desk.says(TOKEN, &json!({"active": true, "aud": "shop", "sub": "ada", "cnf": bound}));
    desk
}

fn tls() -> Connection {
    Connection::new(None).with_tls(Arc::new(Tls::new()))
}

fn asking(time: &FakeTime, scheme: &str) -> portcullis_testkit::TestRequest {
    let request = request(Method::GET, "/orders?page=2").host("shop.example").connection(tls());
    request.header("authorization", format!("{scheme} {TOKEN}")).clock(time.clock())
}

async fn send(layer: &AuthenticateLayer, request: Request<Body>) -> Response<Body> {
    let layers = ServiceBuilder::new().layer(EdgeLayer::default()).layer(layer.clone());
    layers.service(service_fn(whoami)).oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_is_good_for_its_holder_and_for_nobody_else() {
    let (holder, thief, time) = (Holder::new(), Holder::new(), FakeTime::new());
    let now = seconds(&time);
    let layer = desk(&json!({"jkt": holder.thumbprint()})).issuer(NAME);
    let layer = AuthenticateLayer::new().bearer(layer);
    let with = |name: &str, value: Value| {
        let mut claims = claims(now, &format!("{name} {value}"));
        claims[name] = value;
        claims
    };
    let header = |name: &str, value: Value| {
        let mut header = holder.header();
        header[name] = value;
        holder.sign(&header, &claims(now, "header"))
    };
    let good = |claims: &Value| holder.sign(&holder.header(), claims);
    let mut private = holder.jwk();
    private["d"] = json!("AAAA");
    let by_secret = json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": holder.jwk()});
    let one = good(&claims(now, "one"));
    let rows: Vec<(&str, &str, Vec<String>, u16)> = vec![
        ("good", "DPoP", vec![one.clone()], 200),
        ("the same again", "DPoP", vec![one], 401),
        ("in any case", "dpop", vec![good(&claims(now, "two"))], 200),
        ("as if it were anybody's", "Bearer", vec![], 401),
        ("with a proof for nothing", "Bearer", vec![good(&claims(now, "three"))], 401),
        ("without a proof", "DPoP", vec![], 401),
        ("two proofs", "DPoP", vec![good(&claims(now, "a")), good(&claims(now, "b"))], 401),
        ("no proof at all", "DPoP", vec!["x".to_owned()], 401),
        ("too long", "DPoP", vec![good(&with("more", json!("x".repeat(7_000))))], 401),
        ("of another key", "DPoP", vec![thief.sign(&thief.header(), &claims(now, "t"))], 401),
        (
            "another key's signature",
            "DPoP",
            vec![thief.sign(&holder.header(), &claims(now, "t"))],
            401,
        ),
        ("no key", "DPoP", vec![header("jwk", Value::Null)], 401),
        ("a private key", "DPoP", vec![header("jwk", private)], 401),
        ("another type", "DPoP", vec![header("typ", json!("jwt"))], 401),
        ("no type", "DPoP", vec![header("typ", Value::Null)], 401),
        ("alg none", "DPoP", vec![header("alg", json!("none"))], 401),
        ("a shared secret", "DPoP", vec![holder.sign(&by_secret, &claims(now, "h"))], 401),
        ("crit", "DPoP", vec![header("crit", json!(["x"]))], 401),
        ("another method", "DPoP", vec![good(&with("htm", json!("POST")))], 401),
        ("a method in small letters", "DPoP", vec![good(&with("htm", json!("get")))], 401),
        (
            "another path",
            "DPoP",
            vec![good(&with("htu", json!("https://shop.example/order")))],
            401,
        ),
        ("another host", "DPoP", vec![good(&with("htu", json!("https://shop.evil/orders")))], 401),
        (
            "another scheme",
            "DPoP",
            vec![good(&with("htu", json!("http://shop.example/orders")))],
            401,
        ),
        (
            "another port",
            "DPoP",
            vec![good(&with("htu", json!("https://shop.example:444/orders")))],
            401,
        ),
        ("no address", "DPoP", vec![good(&with("htu", json!("/orders")))], 401),
        // Another spelling of the same address (RFC 3986, section 6).
        (
            "spelled otherwise",
            "DPoP",
            vec![good(&with("htu", json!("HTTPS://SHOP.example:443/x/../%6frders")))],
            200,
        ),
        (
            "with a query",
            "DPoP",
            vec![good(&with("htu", json!("https://shop.example/orders?page=2")))],
            200,
        ),
        ("too old", "DPoP", vec![good(&with("iat", json!(now - 61)))], 401),
        ("old", "DPoP", vec![good(&with("iat", json!(now - 60)))], 200),
        ("ahead", "DPoP", vec![good(&with("iat", json!(now + 30)))], 200),
        ("too far ahead", "DPoP", vec![good(&with("iat", json!(now + 31)))], 401),
        ("a time that is a text", "DPoP", vec![good(&with("iat", json!(now.to_string())))], 401),
        ("a time that is none", "DPoP", vec![good(&with("iat", json!(u64::MAX)))], 401),
        ("of another token", "DPoP", vec![good(&with("ath", json!(sha256("another"))))], 401),
        ("of no token", "DPoP", vec![good(&with("ath", Value::Null))], 401),
        ("without a name", "DPoP", vec![good(&with("jti", json!("")))], 401),
    ];
    for (what, scheme, proofs, status) in rows {
        let request =
            proofs.into_iter().fold(asking(&time, scheme), |r, proof| r.header("dpop", proof));
        let answer = send(&layer, request.build()).await;
        assert_eq!(answer.status(), status, "{what}");
        if status == 401 {
            is_told(&answer, scheme, what);
        }
    }
}

/// Both schemes are offered, and what was wrong is told of the one that was taken.
fn is_told(answer: &Response<Body>, scheme: &str, what: &str) {
    let offered: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
    let offered: Vec<_> = offered.iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(offered.len(), 2, "{what}");
    let of = |scheme: &str| *offered.iter().find(|it| it.starts_with(scheme)).unwrap();
    let (bearer, dpop) = (of("Bearer "), of("DPoP "));
    let (wrong, error) = match scheme {
        "Bearer" => (bearer, "invalid_token"),
        _ => (dpop, "invalid_dpop_proof"),
    };
    assert!(wrong.ends_with(&format!(", error=\"{error}\"")), "{what}: {wrong}");
    assert!(dpop.contains("algs=\"ES256 "), "{what}");
}

/// Proofs may come at once, and are good once.
#[tokio::test]
async fn of_fifty_uses_of_one_proof_one_is_good() {
    let (holder, time) = (Holder::new(), FakeTime::new());
    let layer = desk(&json!({"jkt": holder.thumbprint()})).issuer(NAME);
    let layer = AuthenticateLayer::new().bearer(layer);
    for round in 0..20 {
        let claims = claims(seconds(&time), &round.to_string());
        let proof = holder.sign(&holder.header(), &claims);
        let of = || send(&layer, asking(&time, "DPoP").header("dpop", proof.clone()).build());
        let answers = join_all((0..50).map(|_| of())).await;
        let good = answers.iter().filter(|answer| answer.status() == 200).count();
        assert_eq!(good, 1);
        // Nor later, for as long as it is good.
        time.advance(Duration::from_secs(59));
        assert_eq!(of().await.status(), 401);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_nothing_is_not_made_better_by_a_proof() {
    let (holder, time) = (Holder::new(), FakeTime::new());
    let desk = Desk::default();
    desk.says(TOKEN, &json!({"active": true, "aud": "shop", "sub": "ada"}));
    let layer = AuthenticateLayer::new().bearer(desk.issuer(NAME));
    let proof = holder.sign(&holder.header(), &claims(seconds(&time), "one"));
    let answer = send(&layer, asking(&time, "DPoP").header("dpop", proof).build()).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(send(&layer, asking(&time, "Bearer").build()).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_a_certificate_comes_over_its_connection() {
    let time = FakeTime::new();
    let of = |der: &'static [u8]| {
        let tls = Tls::new().with_client_certificate(Bytes::from_static(der));
        asking(&time, "Bearer").connection(Connection::new(None).with_tls(Arc::new(tls))).build()
    };
    let layer = AuthenticateLayer::new()
        .bearer(desk(&json!({"x5t#S256": sha256("certificate of ada")})).issuer(NAME));
    assert_eq!(send(&layer, of(b"certificate of ada")).await.status(), 200);
    assert_eq!(send(&layer, of(b"certificate of eve")).await.status(), 401);
    assert_eq!(send(&layer, asking(&time, "Bearer").build()).await.status(), 401);
    // Bound to both, it needs both.
    let holder = Holder::new();
    let both = json!({"x5t#S256": sha256("certificate of ada"), "jkt": holder.thumbprint()});
    let layer = AuthenticateLayer::new().bearer(desk(&both).issuer(NAME));
    assert_eq!(send(&layer, of(b"certificate of ada")).await.status(), 401);
    let proof = holder.sign(&holder.header(), &claims(seconds(&time), "one"));
    let without = asking(&time, "DPoP").header("dpop", proof.clone()).build();
    assert_eq!(send(&layer, without).await.status(), 401);
}

/// The example of RFC 9449, section 7.1, at its time.
#[tokio::test(start_paused = true)]
async fn the_example_of_the_rfc_is_good() {
    let time = FakeTime::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_562_262_620));
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let desk = Desk::default();
    let bound = json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"});
    desk.says(token, &json!({"active": true, "aud": "shop", "sub": "someone", "cnf": bound}));
    let proof = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0Rs",
        "cEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2",
        "In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90",
        "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFF",
        "byJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
    );
    let layer = AuthenticateLayer::new().bearer(desk.issuer(NAME));
    let ask = || {
        let request = request(Method::GET, "/protectedresource").host("resource.example.org");
        let request = request.connection(tls()).header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof).clock(time.clock()).build()
    };
    assert_eq!(send(&layer, ask()).await.status(), 200);
    assert_eq!(send(&layer, ask()).await.status(), 401);
}

/// Without an edge in front, the target is read here.
#[tokio::test(start_paused = true)]
async fn alone_it_reads_the_target_itself() {
    let (holder, time) = (Holder::new(), FakeTime::new());
    let issuer = desk(&json!({"jkt": holder.thumbprint()})).issuer(NAME);
    let service = AuthenticateLayer::new().bearer(issuer).layer(service_fn(whoami));
    for (htu, status) in [("https://shop.example/orders", 401), ("http://shop.example/orders", 200)]
    {
        let mut claims = claims(seconds(&time), htu);
        claims["htu"] = json!(htu);
        let proof = holder.sign(&holder.header(), &claims);
        let request = request(Method::GET, "/orders").host("shop.example").clock(time.clock());
        let request = request.header("authorization", format!("DPoP {TOKEN}"));
        let answer = service.clone().oneshot(request.header("dpop", proof).build()).await.unwrap();
        assert_eq!(answer.status(), status, "{htu}");
    }
}
