//! Tokens by people who mean no good, through the program: each is refused, nobody is asked anything, and the back end sees nothing.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_core::Clock;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Answer, Backend, Reply, Serving, USER_HASH, ok};

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The issuer's keys, of two kinds.
struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    /// The same pair, for signatures in DER.
    ec_der: EcdsaKeyPair,
}

impl Keys {
    fn new() -> Self {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = ec.to_pkcs8v1().unwrap();
        let ec_der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref());
        Self { rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), ec, ec_der: ec_der.unwrap() }
    }
    fn rsa_jwk(&self) -> Value {
        // RSAPublicKey of RFC 8017, appendix A.1.1: 257 bytes of modulus from here on, the first of them 0.
        let public: &[u8] = self.rsa.public_key().as_ref();
        json!({"kty": "RSA", "kid": "rsa", "use": "sig", "n": base64(&public[9..265]), "e": "AQAB"})
    }
    fn ec_jwk(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
            "x": base64(&point[1..33]), "y": base64(&point[33..]),
        })
    }
    fn jwks(&self) -> String {
        json!({"keys": [self.rsa_jwk(), self.ec_jwk()]}).to_string()
    }
    fn rs256(&self, text: &str) -> String {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        self.rsa.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        base64(signature)
    }
    fn es256(&self, text: &str) -> String {
        base64(self.ec.sign(&SystemRandom::new(), text.as_bytes()).unwrap())
    }
}

fn now() -> u64 {
    Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "shop", "sub": "ada", "exp": now() + 600})
}

fn signed(header: &Value, claims: &str) -> String {
    format!("{}.{}", base64(header.to_string()), base64(claims))
}

fn by_hmac(keys: &[u8], header: &Value) -> String {
    let text = signed(header, &claims().to_string());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, keys), text.as_bytes());
    format!("{text}.{}", base64(tag))
}

/// A gateway whose issuer publishes what it is told to.
struct Front {
    serving: Serving,
    backend: Backend,
    asked: Arc<AtomicUsize>,
    published: Arc<Mutex<Reply>>,
}

impl Front {
    async fn start(keys: &Keys, algorithms: &str) -> Self {
        let (backend, asked) = (Backend::hello().await, Arc::new(AtomicUsize::new(0)));
        let published = Arc::new(Mutex::new(ok(&keys.jwks())));
        let (count, reply) = (Arc::clone(&asked), Arc::clone(&published));
        let issuer = Backend::answering(move |_| {
            count.fetch_add(1, SeqCst);
            reply.lock().unwrap().clone()
        });
        let text = format!(
            r#"
[server]
listen = ["http://127.0.0.1:0"]
[telemetry]
access_log = "off"
[auth.api_key]
keys = [{{ id = "uma", hash = "{USER_HASH}" }}]
[auth.jwt.main]
issuer = "https://id.example"
audience = ["shop"]
jwks = "http://{}/jwks"
{algorithms}
[limits.many]
rate = "100000/s"
key = "identity"
[upstreams.b]
servers = ["http://{}"]
identity = {{ subject = "x-user" }}
[[routes]]
match = {{ path = "/maybe" }}
access = "optional"
to = "b"
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "authenticated"
limits = ["many"]
to = "b"
"#,
            issuer.await.address,
            backend.address
        );
        let serving = Serving::start(&text).await;
        Self { serving, backend, asked, published }
    }
    async fn ask(&self, path: &str, authorization: impl AsRef<[u8]>) -> Answer {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n").into_bytes();
        request.extend_from_slice(authorization.as_ref());
        request.extend_from_slice(b"\r\n\r\n");
        self.serving.ask(request).await
    }
    async fn token(&self, token: &str) -> u16 {
        self.ask("/mine", format!("authorization: Bearer {token}")).await.status
    }
}

#[tokio::test]
async fn each_is_refused_without_a_word_to_anybody() {
    let keys = Keys::new();
    let elsewhere = Backend::hello().await;
    for algorithms in ["", "algorithms = [\"RS256\", \"ES256\"]"] {
        let front = Front::start(&keys, algorithms).await;
        let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
        let text = |alg: &str, kid: &str| signed(&header(alg, kid), &claims().to_string());
        let (rs, es) = (text("RS256", "rsa"), text("ES256", "ec"));
        for good in [format!("{rs}.{}", keys.rs256(&rs)), format!("{es}.{}", keys.es256(&es))] {
            assert_eq!(front.token(&good).await, 200);
        }
        front.backend.seen();
        let asked = front.asked.load(SeqCst);
        let at = elsewhere.address;
        let self_signed = rcgen::generate_simple_self_signed(["id.example".to_owned()]).unwrap();
        let stranger = Keys::new();
        let brought = |name: &str, value: Value| {
            let mut header = header("ES256", "ec");
            header[name] = value;
            let text = signed(&header, &claims().to_string());
            format!("{text}.{}", stranger.es256(&text))
        };
        let der: PublicKeyX509Der<'_> = keys.rsa.public_key().as_der().unwrap();
        let der = der.as_ref();
        let body = STANDARD.encode(der);
        let lines: Vec<_> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let modulus = URL_SAFE_NO_PAD.decode(keys.rsa_jwk()["n"].as_str().unwrap()).unwrap();
        let (confused, pss) = (text("HS256", "rsa"), text("PS256", "rsa"));
        let zero = base64([0; 64]);
        let mut many = claims();
        for number in 0..10_000 {
            many[format!("claim-{number}")] = json!(number);
        }
        let wide = signed(&header("ES256", "ec"), &many.to_string());
        let long_kid = text("ES256", &"k".repeat(65_536));
        let in_der = keys.ec_der.sign(&SystemRandom::new(), es.as_bytes()).unwrap();
        let tokens = [
            // CVE-2026-39999.
            by_hmac(pem.as_bytes(), &header("HS256", "rsa")),
            by_hmac(pem.trim_end().as_bytes(), &header("HS256", "rsa")),
            by_hmac(der, &header("HS256", "rsa")),
            by_hmac(keys.rsa_jwk().to_string().as_bytes(), &header("HS256", "rsa")),
            by_hmac(&modulus, &header("HS256", "rsa")),
            by_hmac(keys.ec.public_key().as_ref(), &header("HS256", "ec")),
            by_hmac(b"", &header("HS256", "ec")),
            format!("{confused}.{}", keys.rs256(&confused)),
            format!("{pss}.{}", keys.rs256(&pss)),
            format!("{es}.{}", keys.rs256(&es)),
            // CVE-2022-21449, and signatures in the form of another standard.
            format!("{es}.{zero}"),
            format!("{es}.{}", base64([0; 63])),
            format!("{es}.{}", base64(in_der)),
            format!("{es}."),
            format!("{}.", text("none", "ec")),
            format!("{}.{}", text("none", "ec"), keys.es256(&text("none", "ec"))),
            // Keys and places of keys that the token has with it.
            brought("jwk", stranger.ec_jwk()),
            brought("jku", json!(format!("http://{at}/jwks"))),
            brought("x5u", json!(format!("http://{at}/chain.pem"))),
            brought("x5c", json!([STANDARD.encode(self_signed.cert.der())])),
            brought("kid", json!(format!("http://{at}/key"))),
            format!("{wide}.{}", keys.es256(&wide)),
            format!("{long_kid}.{}", keys.es256(&long_kid)),
            "a".repeat(8_193),
            format!("{es}.{}", "a".repeat(8_000)),
            json!({"payload": "e30", "protected": "e30", "signature": "e30"}).to_string(),
            format!("{}.{es}.{}", base64("{}"), keys.es256(&es)),
        ];
        for token in &tokens {
            let status = front.token(token).await;
            // What is too long for any head is refused as one.
            let is_long = token.len() > 15_000;
            assert!(status == 401 || is_long && status == 431, "{status}: {token:.200}");
            // Also where nobody need say who they are (CVE-2021-21378).
            let answer = front.ask("/maybe", format!("authorization: Bearer {token}")).await;
            assert!(answer.status == 401 || is_long && answer.status == 431, "{token:.200}");
        }
        assert!(front.backend.seen().is_empty());
        assert!(elsewhere.seen().is_empty() && elsewhere.connections() == 0);
        // A key of no name that is known is looked for once, and not again for 30 s.
        assert!(front.asked.load(SeqCst) - asked <= 1);
    }
}

/// What no header should hold is no way around (CVE-2023-27488), several of one kind are none, and a limit on a route takes nothing from what else
/// is asked there.
#[tokio::test]
async fn what_is_odd_is_refused_and_what_is_missing_is_missing() {
    let front = Front::start(&Keys::new(), "").await;
    let rows: [(&[u8], u16); 14] = [
        (b"x-other: 1", 401),
        (b"x-other: \xff\xfe", 401),
        (b"authorization: Bearer \xff\xfe", 401),
        (b"authorization: Bearer", 401),
        (b"authorization: Bearer ", 401),
        (b"authorization:", 401),
        (b"authorization: \xff\xfe", 401),
        (b"authorization: Bearer a\r\nauthorization: Bearer b", 401),
        (b"authorization: Bearer a, Bearer b", 401),
        (b"x-api-key: \xff\xfe", 401),
        (b"x-api-key: user-key, root-key", 401),
        (b"x-api-key: user-key\r\nx-api-key: user-key", 401),
        (b"x-api-key: user-key\r\nx-other: \xff\xfe", 200),
        (b"x-api-key: user-key\r\nauthorization: Bearer x", 401),
    ];
    for (lines, status) in rows {
        let answer = front.ask("/mine", lines).await;
        assert_eq!(answer.status, status, "{:?}", String::from_utf8_lossy(lines));
        assert!(status == 200 || answer.header("www-authenticate").is_some(), "{}", answer.head);
    }
    assert_eq!(front.backend.seen().len(), 1);
}

/// Whatever an issuer publishes in place of its keys, known ones stay good, and it is asked for no more than that.
#[tokio::test]
async fn keys_that_cannot_be_read_change_nothing() {
    let keys = Keys::new();
    let front = Front::start(&keys, "refresh = \"1s\"").await;
    let text = |sub: &str| {
        let mut claims = claims();
        claims["sub"] = json!(sub);
        let text = signed(&json!({"alg": "ES256", "kid": "ec"}), &claims.to_string());
        format!("{text}.{}", keys.es256(&text))
    };
    assert_eq!(front.token(&text("first")).await, 200);
    let bytes = |text: String| Reply::Bytes(text.into_bytes());
    let long = |body: &str| ok(&format!("{}{body}", " ".repeat(300 << 10)));
    let doubled = json!({"keys": [keys.ec_jwk(), keys.ec_jwk()]}).to_string();
    let mixed = json!({"keys": [keys.ec_jwk(), {"kty": "oct", "k": base64([7; 64])}]}).to_string();
    let elsewhere = Backend::hello().await;
    let away = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    for (number, reply) in [
        bytes("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned()),
        bytes(away),
        ok(""),
        ok("{\"keys\":[]}"),
        ok("<html>"),
        ok(&doubled),
        ok(&mixed),
        long(&keys.jwks()),
        Reply::Close,
        Reply::Never,
    ]
    .into_iter()
    .enumerate()
    {
        let asked = front.asked.load(SeqCst);
        *front.published.lock().unwrap() = reply;
        let since = tokio::time::Instant::now();
        while front.asked.load(SeqCst) < asked + 2 && number != 9 {
            assert!(since.elapsed() < Duration::from_secs(20), "{number} is not asked for");
            sleep(Duration::from_millis(10)).await;
        }
        // One that was never seen, and so is verified.
        assert_eq!(front.token(&text(&format!("ada-{number}"))).await, 200, "{number}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// What the right key has signed is judged all the same.
#[tokio::test]
async fn claims_that_are_not_as_they_must_be_are_refused_though_they_are_signed() {
    let keys = Keys::new();
    let front = Front::start(&keys, "").await;
    let now = now();
    // Written by hand: it is the letters that count, and not all of them can be written otherwise.
    let with = |name: &str, value: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        let text = claims.to_string().replacen('{', &format!("{{\"{name}\":{value},"), 1);
        let text = signed(&json!({"alg": "ES256", "kid": "ec"}), &text);
        format!("{text}.{}", keys.es256(&text))
    };
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}0{}", "{\"\":".repeat(depth), "}".repeat(depth));
    for (name, value, status) in [
        ("exp", (now + 600).to_string(), 200),
        ("exp", "null".to_owned(), 401),
        ("exp", "1e400".to_owned(), 401),
        ("exp", "1".to_owned(), 401),
        ("exp", "-1".to_owned(), 401),
        ("exp", format!("{}.5", now + 600), 401),
        ("exp", format!("\"{}\"", now + 600), 401),
        ("exp", format!("[{}]", now + 600), 401),
        ("exp", u64::MAX.to_string(), 401),
        ("nbf", "null".to_owned(), 401),
        ("nbf", "\"99999999999\"".to_owned(), 401),
        ("nbf", (now + 600).to_string(), 401),
        ("iat", (now + 600).to_string(), 401),
        ("sub", "null".to_owned(), 401),
        ("aud", "null".to_owned(), 401),
        ("iss", "null".to_owned(), 401),
        ("deep", arrays(100), 200),
        ("deep", arrays(1_000), 401),
        ("deep", objects(100), 200),
        ("deep", objects(1_000), 401),
    ] {
        let token = with(name, &value);
        assert!(token.len() <= 8_192, "it is refused by its length");
        assert_eq!(front.token(&token).await, status, "{name}: {value:.40}");
        let answer = front.ask("/maybe", format!("authorization: Bearer {token}")).await;
        assert_eq!(answer.status, status, "{name}: {value:.40}");
        assert_eq!(front.backend.seen().len(), if status == 200 { 2 } else { 0 }, "{name}");
    }
    // The good ones had them fetched, and no other one has.
    assert_eq!(front.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_and_the_next_one_is_not() {
    let keys = Keys::new();
    let front = Front::start(&keys, "").await;
    let of = |claims: &Value| {
        let text = signed(&json!({"alg": "ES256", "kid": "ec"}), &claims.to_string());
        format!("{text}.{}", keys.es256(&text))
    };
    let good = of(&claims());
    let mut long = claims();
    long["more"] = json!("a".repeat(1 << 20));
    for token in ["a".repeat(1 << 20), of(&long), format!("{good}{}", ".".repeat(1 << 20))] {
        for path in ["/mine", "/maybe"] {
            let answer = front.ask(path, format!("authorization: Bearer {token}")).await;
            assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.head);
            assert!(front.backend.seen().is_empty());
            assert_eq!(front.token(&good).await, 200);
            assert_eq!(front.backend.seen().len(), 1);
        }
    }
}

/// Whoever makes up names of keys has the issuer asked no more often than anybody else.
#[tokio::test]
async fn ten_thousand_keys_that_nobody_has_are_two_fetches_at_most() {
    const LOTS: usize = 10;
    let keys = Keys::new();
    let front = Front::start(&keys, "").await;
    let (rest, signature) = (base64(claims().to_string()), base64([7; 64]));
    let began = tokio::time::Instant::now();
    let lots = (0..LOTS).map(|lot| {
        let (front, rest, signature) = (&front, &rest, &signature);
        async move {
            let mut client = front.serving.connect().await;
            for number in 0..1_000 {
                let kid = format!("made-up-{lot}-{number}");
                let header = base64(json!({"alg": "ES256", "kid": kid}).to_string());
                let token = format!("{header}.{rest}.{signature}");
                client
                    .send(format!(
                        "GET /mine HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
                    ))
                    .await;
                assert_eq!(client.answer().await.expect("an answer").status, 401, "{kid}");
            }
        }
    });
    futures_util::future::join_all(lots).await;
    // One at the beginning. A name that is not known is looked for once in 30 s, on however slow a machine.
    let most = 2 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    let asked = front.asked.load(SeqCst);
    assert!((1..=most).contains(&asked), "{asked} fetches, {most} at most");
    assert!(front.backend.seen().is_empty());
    let text = signed(&json!({"alg": "ES256", "kid": "ec"}), &claims().to_string());
    assert_eq!(front.token(&format!("{text}.{}", keys.es256(&text))).await, 200);
}
