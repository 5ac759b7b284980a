//! Tokens through the program: keys from a file and from where an issuer publishes them.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::Clock;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::reload::Gateway;
use crate::support::{Answer, Backend, Reply, Serving, TempFile, USER_HASH, header, ok};

/// A key of an issuer.
struct Signer {
    kid: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Ed25519KeyPair::generate().unwrap() }
    }
    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x})
    }
    /// A token with these claims besides, or in place of, those of a good one.
    fn token(&self, claims: &Value) -> String {
        let now = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut all = json!({
            "iss": "https://id.example", "aud": ["shop"], "sub": "ada", "exp": now + 600, "iat": now,
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let header = json!({"alg": "EdDSA", "kid": self.kid, "typ": "at+jwt"});
        let base64 = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", base64(header), base64(all));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes())))
    }
}

fn jwks(signers: &[&Signer]) -> String {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// What the file says behind its head.
fn rules(backend: &Backend, jwks: &str, more: &str) -> String {
    format!(
        r#"
[auth.jwt.main]
issuer = "https://id.example"
audience = ["shop"]
jwks = "{jwks}"
claims = {{ roles = "/roles", tenant = "/org" }}
roles = {{ "shop-clerk" = "clerk" }}
{more}
[roles.clerk]
permissions = ["orders:write"]
[upstreams.b]
servers = ["http://{}"]
identity = {{ subject = "x-user", tenant = "x-tenant" }}
[[routes]]
match = {{ path = "/open/{{*rest}}" }}
access = "public"
to = "b"
[[routes]]
match = {{ path = "/maybe/{{*rest}}" }}
access = "optional"
to = "b"
[[routes]]
match = {{ path = "/mine/{{*rest}}" }}
access = "authenticated"
to = "b"
[[routes]]
match = {{ path = "/orders/{{*rest}}" }}
access = {{ permission = "orders:write" }}
to = "b"
"#,
        backend.address
    )
}

const HEAD: &str =
    "[server]\nlisten = [\"http://127.0.0.1:0\"]\n[telemetry]\naccess_log = \"off\"\n";

async fn ask(front: &Serving, path: &str, authorization: &str) -> Answer {
    let line = if authorization.is_empty() {
        String::new()
    } else {
        format!("authorization: {authorization}\r\n")
    };
    front.ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-user: root\r\n{line}\r\n")).await
}

#[tokio::test]
async fn a_token_says_who_calls_and_the_back_end_hears_only_what_it_is_told() {
    let (signer, backend) = (Signer::new("one"), Backend::hello().await);
    let keys = TempFile::new("keys.json", &jwks(&[&signer]));
    let source = format!("file:{}", keys.0.display());
    let front = Serving::start(&format!("{HEAD}{}", rules(&backend, &source, ""))).await;
    let clerk =
        format!("Bearer {}", signer.token(&json!({"roles": ["shop-clerk"], "org": "acme"})));
    let guest = format!("bearer {}", signer.token(&json!({"roles": ["clerk", "admin"]})));
    let stranger = format!("Bearer {}", Signer::new("one").token(&json!({})));
    let unknown = format!("Bearer {}", signer.token(&json!({"iss": "https://other.example"})));
    for (path, authorization, status, user) in [
        ("/open/1", "", 200, None),
        // Nobody looks at it there, and it goes nowhere.
        ("/open/1", clerk.as_str(), 200, None),
        ("/open/1", stranger.as_str(), 200, None),
        ("/maybe/1", "", 200, None),
        ("/maybe/1", &clerk, 200, Some("ada")),
        // Missing is not invalid.
        ("/maybe/1", &stranger, 401, None),
        ("/maybe/1", &unknown, 401, None),
        ("/mine/1", "", 401, None),
        ("/mine/1", &guest, 200, Some("ada")),
        ("/orders/1", &clerk, 200, Some("ada")),
        // What is not mapped gives nothing, whatever it is called.
        ("/orders/1", &guest, 403, None),
        ("/orders/1", "", 401, None),
        ("/orders/1", "Bearer", 401, None),
        ("/orders/1", "Bearer x.y.z", 401, None),
        // What only somebody else would take for a token goes nowhere, either.
        ("/maybe/1", "Bearer\tx", 401, None),
        ("/maybe/1", "Bearer=x", 401, None),
        ("/maybe/1", "Bearer,x", 401, None),
        ("/maybe/1", "Basic YTpi, Bearer x", 401, None),
        ("/maybe/1", "Bearer\u{a0}x", 401, None),
    ] {
        let answer = ask(&front, path, authorization).await;
        assert_eq!(answer.status, status, "{path} {authorization} {answer:?}");
        let seen = backend.seen();
        assert_eq!(seen.len(), usize::from(status == 200), "{path} {authorization}");
        for seen in seen {
            assert_eq!(header(&seen, "x-user"), user, "{path} {authorization}");
            assert_eq!(header(&seen, "authorization"), None, "{path} {authorization}");
        }
        if status == 401 {
            let invalid = !authorization.is_empty();
            let want = if invalid {
                "Bearer realm=\"api\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"api\""
            };
            assert_eq!(answer.header("www-authenticate"), Some(want), "{path} {authorization}");
        }
    }
    // A scheme that is none of ours is the back end's.
    assert_eq!(ask(&front, "/maybe/1", "Basic YTpi").await.status, 200);
    assert_eq!(header(&backend.seen()[0], "authorization"), Some("Basic YTpi"));
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_and_its_issuer_are_for() {
    let (signer, other) = (Signer::new("one"), Signer::new("one"));
    let backend = Backend::hello().await;
    let files = [&signer, &other].map(|signer| TempFile::new("keys.json", &jwks(&[signer])));
    let file = |at: usize| format!("file:{}", files[at].0.display());
    let route = |path: &str, access: &str| {
        format!("[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\nto = \"b\"\n")
    };
    let partner = "issuer = \"https://partner.example\"\naudience = [\"shop\"]";
    let more = format!("[auth.jwt.partner]\n{partner}\njwks = \"{}\"\n", file(1));
    let text = [
        rules(&backend, &file(0), &more),
        route("/foo", "{ scopes = [\"foo\"] }"),
        route("/bar", "{ scopes = [\"bar\"] }"),
        route("/ours", "{ issuers = [\"main\"] }"),
        route("/theirs", "{ issuers = [\"partner\"] }"),
    ]
    .concat();
    let front = Serving::start(&format!("{HEAD}{text}")).await;
    let bearer = |signer: &Signer, claims: &Value| format!("Bearer {}", signer.token(claims));
    let foo = bearer(&signer, &json!({"scope": "foo"}));
    let theirs = bearer(&other, &json!({"iss": "https://partner.example"}));
    // What is remembered of a token says who it is of, not where it may go (CVE-2021-32701, CVE-2026-33496).
    for _ in 0..2 {
        for (path, token, status) in [
            ("/foo", &foo, 200),
            ("/bar", &foo, 403),
            ("/ours", &foo, 200),
            ("/theirs", &foo, 401),
            ("/theirs", &theirs, 200),
            ("/ours", &theirs, 401),
            ("/mine/1", &theirs, 200),
            // No scopes are none (GHSA-vgj4-345g-jcf8).
            ("/foo", &theirs, 403),
            ("/foo", &bearer(&signer, &json!({"scope": "openid"})), 403),
            ("/foo", &bearer(&signer, &json!({"scope": ""})), 403),
            ("/foo", &bearer(&signer, &json!({"scope": {"foo": true}})), 403),
            ("/foo", &bearer(&signer, &json!({"scope": "foobar fo o"})), 403),
        ] {
            let answer = ask(&front, path, token).await;
            assert_eq!(answer.status, status, "{path} {}", answer.head);
        }
    }
    let answer = ask(&front, "/bar", &foo).await;
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"bar\"");
    // Both at once, by many: nobody gets the verdict of another.
    let all = (0..40).map(|at| {
        let (token, front) = (if at % 2 == 0 { &foo } else { &theirs }, &front);
        async move { (at, ask(front, "/ours", token).await.status) }
    });
    for (at, status) in futures_util::future::join_all(all).await {
        assert_eq!(status, if at % 2 == 0 { 200 } else { 401 }, "{at}");
    }
}

#[tokio::test]
async fn keys_and_tokens_stand_beside_each_other_and_not_in_one_request() {
    let (signer, backend) = (Signer::new("one"), Backend::hello().await);
    let keys = TempFile::new("keys.json", &jwks(&[&signer]));
    let source = format!("file:{}", keys.0.display());
    let more = format!(
        "[auth.api_key]\nkeys = [{{ id = \"uma\", hash = \"{USER_HASH}\", roles = [\"clerk\"] }}]"
    );
    let front = Serving::start(&format!("{HEAD}{}", rules(&backend, &source, &more))).await;
    let token = format!("Bearer {}", signer.token(&json!({})));
    let refused = ask(&front, "/mine/1", "").await;
    let offered = crate::support::headers(&refused.head, "www-authenticate");
    assert_eq!(
        offered,
        [
            "Bearer realm=\"api\"",
            "DPoP realm=\"api\", algs=\"ES256 EdDSA PS256 RS256\"",
            "ApiKey header=\"x-api-key\"",
        ]
    );
    let with_key = |more: &str| {
        format!("GET /mine/1 HTTP/1.1\r\nhost: a\r\nx-api-key: user-key\r\n{more}\r\n")
    };
    assert_eq!(front.ask(with_key("")).await.status, 200);
    assert_eq!(ask(&front, "/mine/1", &token).await.status, 200);
    assert_eq!(front.ask(with_key(&format!("authorization: {token}\r\n"))).await.status, 401);
}

/// Where an issuer publishes its keys, and how often it was asked.
struct Issuer {
    backend: Backend,
    published: Arc<Mutex<String>>,
    is_down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn open(signers: &[&Signer]) -> Self {
        let published = Arc::new(Mutex::new(jwks(signers)));
        let (is_down, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (text, down, count) =
            (Arc::clone(&published), Arc::clone(&is_down), Arc::clone(&asked));
        let backend = Backend::answering(move |_| {
            count.fetch_add(1, SeqCst);
            if down.load(SeqCst) { Reply::Close } else { ok(&text.lock().unwrap()) }
        });
        Self { backend: backend.await, published, is_down, asked }
    }
    fn publish(&self, signers: &[&Signer]) {
        *self.published.lock().unwrap() = jwks(signers);
    }
    fn url(&self) -> String {
        format!("http://{}/jwks", self.backend.address)
    }
}

#[tokio::test]
async fn keys_change_and_nobody_is_refused_who_should_not_be() {
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let (issuer, backend) = (Issuer::open(&[&one]).await, Backend::hello().await);
    let rules = rules(&backend, &issuer.url(), "refresh = \"1s\"");
    let front = Serving::start(&format!("{HEAD}{rules}")).await;
    let ask_all = async |signer: &Signer| {
        for number in 0..50 {
            let token = signer.token(&json!({"sub": format!("user-{number}")}));
            let answer = ask(&front, "/mine/1", &format!("Bearer {token}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let seen = backend.seen();
            assert_eq!(header(&seen[0], "x-user"), Some(format!("user-{number}").as_str()));
        }
    };
    // The first waits until the keys are there.
    ask_all(&one).await;
    issuer.publish(&[&one, &two]);
    // A look that began before may bring the old ones; the next one does not.
    let (asked, since) = (issuer.asked.load(SeqCst), Instant::now());
    while issuer.asked.load(SeqCst) < asked + 3 {
        assert!(since.elapsed() < Duration::from_secs(20));
        ask_all(&one).await;
    }
    ask_all(&two).await;
    ask_all(&one).await;
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_503_after_a_while_and_is_back_by_itself() {
    let one = Signer::new("one");
    let (issuer, backend) = (Issuer::open(&[&one]).await, Backend::hello().await);
    let more = "refresh = \"1s\"\nkeep = \"1s\"";
    let front = Serving::start(&format!("{HEAD}{}", rules(&backend, &issuer.url(), more))).await;
    let token = format!("Bearer {}", one.token(&json!({})));
    assert_eq!(ask(&front, "/mine/1", &token).await.status, 200);
    issuer.is_down.store(true, SeqCst);
    let since = Instant::now();
    let becomes = async |want: u16| {
        loop {
            let answer = ask(&front, "/mine/1", &token).await;
            if answer.status == want {
                return answer;
            }
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            assert!(since.elapsed() < Duration::from_secs(20), "{answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = becomes(503).await;
    assert!(answer.text().contains("authentication-unavailable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
    issuer.is_down.store(false, SeqCst);
    becomes(200).await;
}

#[tokio::test]
async fn a_reload_takes_other_rules_and_says_that_they_are_others() {
    let (signer, backend) = (Signer::new("one"), Backend::hello().await);
    let keys = TempFile::new("keys.json", &jwks(&[&signer]));
    let source = format!("file:{}", keys.0.display());
    let gateway = Gateway::start(&rules(&backend, &source, "")).await;
    let token = format!("Bearer {}", signer.token(&json!({"aud": "blog"})));
    assert_eq!(ask(&gateway.serving, "/mine/1", &token).await.status, 401);
    let wider = rules(&backend, &source, "").replace("[\"shop\"]", "[\"shop\", \"blog\"]");
    gateway.write(&wider);
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("auth.jwt.main.audience"), "{said}");
    assert_eq!(ask(&gateway.serving, "/mine/1", &token).await.status, 401);
    assert_eq!(gateway.command("reload-and-widen").await.0, 200);
    assert_eq!(ask(&gateway.serving, "/mine/1", &token).await.status, 200);
    // Keys of a file are read again with it, and what was remembered goes with them.
    std::fs::write(&keys.0, jwks(&[&Signer::new("one")])).unwrap();
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("auth.jwt.main.jwks: the file has other keys"), "{said}");
    assert_eq!(gateway.command("reload-and-widen").await.0, 200);
    assert_eq!(ask(&gateway.serving, "/mine/1", &token).await.status, 401);
}

#[tokio::test]
async fn the_keys_of_an_issuer_that_a_reload_brings_are_fetched_before_anyone_asks() {
    let (signer, backend) = (Signer::new("one"), Backend::hello().await);
    let issuer = Issuer::open(&[&signer]).await;
    let keys = TempFile::new("keys.json", &jwks(&[&signer]));
    let file = format!("file:{}", keys.0.display());
    let gateway = Gateway::start(&rules(&backend, &file, "")).await;
    gateway.write(&rules(&backend, &issuer.url(), "refresh = \"1s\""));
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    let since = Instant::now();
    while issuer.asked.load(SeqCst) < 3 {
        assert!(since.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(20)).await;
    }
}
