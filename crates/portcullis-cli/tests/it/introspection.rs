//! Tokens that an issuer is asked about, and tokens that are bound to their holders, through the program.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_core::Clock;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::reload::Gateway;
use crate::support::{Answer, Backend, Reply, Serving, header, ok};

/// An issuer that is asked.
struct Desk {
    backend: Backend,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    is_down: Arc<AtomicBool>,
}

impl Desk {
    async fn open() -> Self {
        let answers: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let is_down = Arc::new(AtomicBool::new(false));
        let (known, down) = (Arc::clone(&answers), Arc::clone(&is_down));
        let backend = Backend::answering(move |request| {
            let token = request.split("\r\n\r\ntoken=").nth(1).unwrap_or_default();
            let token = token.split('&').next().unwrap_or_default();
            let answer = known.lock().unwrap().get(token).cloned();
            let answer = answer.unwrap_or_else(|| json!({"active": false}));
            if down.load(SeqCst) { Reply::Close } else { ok(&answer.to_string()) }
        });
        Self { backend: backend.await, answers, is_down }
    }
    fn says(&self, token: &str, answer: Value) {
        self.answers.lock().unwrap().insert(token.to_owned(), answer);
    }
    /// What the file says behind its head.
    fn rules(&self, backend: &Backend, more: &str) -> String {
        format!(
            r#"
[auth.jwt.main]
issuer = "https://id.example"
audience = ["shop"]
introspect = {{ url = "http://{}/ask", client_id = "gate way", client_secret = "s3cr3t&:%", {more} }}
[upstreams.b]
servers = ["http://{}"]
identity = {{ subject = "x-user" }}
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "authenticated"
to = "b"
"#,
            self.backend.address, backend.address
        )
    }
}

const HEAD: &str =
    "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\n[telemetry]\naccess_log = \"off\"\n";

async fn ask(front: &Serving, token: &str, more: &str) -> Answer {
    let scheme = if more.is_empty() { "Bearer" } else { "DPoP" };
    let credentials = format!("authorization: {scheme} {token}\r\n{more}");
    front.ask(format!("GET /a?b HTTP/1.1\r\nhost: shop.example\r\n{credentials}\r\n")).await
}

fn ada() -> Value {
    json!({"active": true, "aud": "shop", "sub": "ada"})
}

#[tokio::test]
async fn an_issuer_is_asked_about_a_token_and_the_back_end_never_sees_it() {
    let (desk, backend) = (Desk::open().await, Backend::hello().await);
    let front = Serving::start(&format!("{HEAD}{}", desk.rules(&backend, ""))).await;
    desk.says("opaque.1", ada());
    for _ in 0..10 {
        assert_eq!(ask(&front, "opaque.1", "").await.status, 200);
    }
    let asked = desk.backend.seen();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /ask HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, "token=opaque.1&token_type_hint=access_token");
    // Both parts are written as a form would (RFC 6749, section 2.3.1).
    let credentials = STANDARD.encode("gate+way:s3cr3t%26%3A%25");
    assert_eq!(header(head, "authorization"), Some(&*format!("Basic {credentials}")));
    assert_eq!(header(head, "content-type"), Some("application/x-www-form-urlencoded"));
    for seen in backend.seen() {
        assert_eq!(header(&seen, "x-user"), Some("ada"));
        assert!(!seen.contains("opaque.1"), "{seen}");
    }
    let refused = ask(&front, "opaque.2", "").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
    assert!(backend.seen().is_empty());
}

/// R13, of an issuer that is asked: nobody is let in on its silence, what is known counts to the bound, and it is back by itself.
#[tokio::test]
async fn an_issuer_that_is_gone_is_503_and_is_back_by_itself() {
    let (desk, backend) = (Desk::open().await, Backend::hello().await);
    let rules = desk.rules(&backend, "remember = \"1s\"");
    let front = Serving::start(&format!("{HEAD}{rules}")).await;
    desk.says("one", ada());
    desk.says("two", ada());
    assert_eq!(ask(&front, "one", "").await.status, 200);
    desk.is_down.store(true, SeqCst);
    let answer = ask(&front, "two", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert!(answer.text().contains("authentication-unavailable"));
    // Also without a log of requests somebody hears of it.
    front.logged(&["WARN", "an issuer cannot be asked about tokens"]).await;
    let since = Instant::now();
    while ask(&front, "one", "").await.status == 200 {
        assert!(since.elapsed() < Duration::from_secs(3), "it is believed for too long");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&front, "one", "").await.status, 503);
    desk.is_down.store(false, SeqCst);
    assert_eq!(ask(&front, "two", "").await.status, 200);
    desk.says("one", json!({"active": false}));
    assert_eq!(ask(&front, "one", "").await.status, 401);
}

/// A proof by a new key for the token `bound`.
fn proof(holder: &Ed25519KeyPair, id: &str) -> String {
    let now = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(holder.public_key().as_ref())});
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk});
    let claims = json!({
        "jti": id, "htm": "GET", "htu": "http://shop.example/a", "iat": now,
        "ath": encode(digest(&SHA256, b"bound").as_ref()),
    });
    let parts = [header, claims].map(|part| encode(part.to_string().as_bytes()));
    let signed = parts.join(".");
    format!("dpop: {signed}.{}\r\n", encode(holder.sign(signed.as_bytes()).as_ref()))
}

#[tokio::test]
async fn a_proof_is_good_once_whoever_of_the_workers_sees_it_and_after_a_reload() {
    let (desk, backend) = (Desk::open().await, Backend::hello().await);
    let gateway = Gateway::start(&desk.rules(&backend, "")).await;
    let front = &gateway.serving;
    let holder = Ed25519KeyPair::generate().unwrap();
    let key = URL_SAFE_NO_PAD.encode(holder.public_key());
    let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{key}"}}"#);
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, thumbprint.as_bytes()));
    let mut answer = ada();
    answer["cnf"] = json!({"jkt": thumbprint});
    desk.says("bound", answer);
    for round in 0..10 {
        let proof = proof(&holder, &round.to_string());
        // Each over a connection of its own: they come to all workers.
        let all = (0..20).map(|_| ask(front, "bound", &proof));
        let answers = futures_util::future::join_all(all).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 1, "{}", answers[0].head);
    }
    let seen = backend.seen();
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|seen| !seen.contains("dpop") && !seen.contains("bound")), "{seen:?}");
    let last = proof(&holder, "last");
    assert_eq!(ask(front, "bound", &last).await.status, 200);
    gateway.write(&desk.rules(&backend, "").replace("x-user", "x-caller"));
    assert_eq!(gateway.command("reload-and-widen").await.0, 200);
    assert_eq!(ask(front, "bound", &last).await.status, 401);
    assert_eq!(ask(front, "bound", &proof(&holder, "new")).await.status, 200);
    assert_eq!(ask(front, "bound", "").await.status, 401, "without a proof");
}
