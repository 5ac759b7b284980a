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
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::reload::Gateway;
use crate::support::{Answer, Backend, Reply, Serving, header, headers, ok, within};

/// An issuer that is asked.
struct Desk {
    backend: Backend,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    is_down: Arc<AtomicBool>,
    /// While it is false nobody gets an answer.
    answering: watch::Sender<bool>,
}

impl Desk {
    async fn open() -> Self {
        let answers: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let is_down = Arc::new(AtomicBool::new(false));
        let (answering, is_time) = watch::channel(true);
        let (known, down) = (Arc::clone(&answers), Arc::clone(&is_down));
        let backend = Backend::answering(move |request| {
            let token = request.split("\r\n\r\ntoken=").nth(1).unwrap_or_default();
            let token = token.split('&').next().unwrap_or_default();
            let answer = known.lock().unwrap().get(token).cloned();
            let answer = answer.unwrap_or_else(|| json!({"active": false}));
            match ok(&answer.to_string()) {
                _ if down.load(SeqCst) => Reply::Close,
                Reply::Bytes(bytes) => Reply::When(is_time.clone(), bytes),
                other => other,
            }
        });
        Self { backend: backend.await, answers, is_down, answering }
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

/// A gateway that asks two issuers, of whose tokens none has a prefix: the routes say whose callers they take.
async fn of_two_issuers(main: &Desk, partner: &Desk, backend: &Backend) -> Serving {
    let issuers = [("main", main), ("partner", partner)].map(|(name, desk)| {
        let at = desk.backend.address;
        let ask = format!(
            "{{ url = \"http://{at}/ask\", client_id = \"gateway\", client_secret = \"secret\" }}"
        );
        format!(
            "[auth.jwt.{name}]\nissuer = \"https://{name}.example\"\naudience = [\"shop\"]\nintrospect = {ask}\n"
        )
    });
    let routes = [
        ("/foo", "{ scopes = [\"foo\"], issuers = [\"main\"] }"),
        ("/bar", "{ scopes = [\"bar\"], issuers = [\"main\"] }"),
        ("/ours", "{ issuers = [\"main\"] }"),
        ("/theirs", "{ issuers = [\"partner\"] }"),
    ]
    .map(|(path, access)| {
        format!("[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\nto = \"b\"\n")
    });
    let upstream = format!(
        "[upstreams.b]\nservers = [\"http://{}\"]\nidentity = {{ subject = \"x-user\" }}\n",
        backend.address
    );
    Serving::start(&format!("{HEAD}{}{upstream}{}", issuers.concat(), routes.concat())).await
}

async fn at(front: &Serving, path: &str, token: &str) -> Answer {
    front
        .ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"))
        .await
}

/// What is remembered of a token says who it is of, not where it may go (CVE-2021-32701, CVE-2026-33496).
#[tokio::test]
async fn a_token_that_is_asked_about_opens_what_its_scopes_and_its_issuer_are_for() {
    let (main, partner) = (Desk::open().await, Desk::open().await);
    let backend = Backend::hello().await;
    let front = of_two_issuers(&main, &partner, &backend).await;
    let active =
        |sub: &str, scope: &str| json!({"active": true, "aud": "shop", "sub": sub, "scope": scope});
    main.says("foo", active("ada", "foo"));
    partner.says("theirs", active("bob", "bar"));
    // The same letters are a token of either, and of two callers.
    main.says("both", active("eve", "foo bar"));
    partner.says("both", active("mallory", "foo"));
    for _ in 0..3 {
        for (path, token, status, user) in [
            ("/foo", "foo", 200, Some("ada")),
            ("/bar", "foo", 403, None),
            ("/ours", "foo", 200, Some("ada")),
            ("/theirs", "foo", 401, None),
            ("/theirs", "theirs", 200, Some("bob")),
            ("/ours", "theirs", 401, None),
            ("/bar", "theirs", 401, None),
            ("/bar", "both", 200, Some("eve")),
            ("/theirs", "both", 200, Some("mallory")),
            ("/ours", "both", 200, Some("eve")),
        ] {
            let answer = at(&front, path, token).await;
            assert_eq!(answer.status, status, "{path} {token} {}", answer.head);
            let seen = backend.seen();
            let told = seen.first().and_then(|seen| header(seen, "x-user"));
            assert_eq!((seen.len(), told), (usize::from(status == 200), user), "{path} {token}");
        }
    }
    let challenge = at(&front, "/bar", "foo").await;
    let challenge = challenge.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"bar\"");
    // What each has said was remembered, for its own routes.
    for desk in [&main, &partner] {
        assert!(desk.backend.seen().len() <= 3 * 2, "they are asked again and again");
    }
}

/// The same while nobody knows yet: all who wait for one answer get it, and nobody that of the other issuer.
#[tokio::test]
async fn those_who_wait_for_what_two_issuers_say_of_one_token_get_their_own_answer() {
    let (main, partner) = (Desk::open().await, Desk::open().await);
    let backend = Backend::hello().await;
    let front = of_two_issuers(&main, &partner, &backend).await;
    let answer = |scope: &str| json!({"active": true, "aud": "shop", "sub": "ada", "scope": scope});
    for (token, of_main) in [("one", true), ("two", false)] {
        (if of_main { &main } else { &partner }).says(token, answer("foo"));
        for desk in [&main, &partner] {
            desk.answering.send_replace(false);
            desk.backend.seen();
        }
        let all = (0..40).map(|number| {
            let (path, front) = (["/ours", "/theirs", "/foo", "/bar"][number % 4], &front);
            async move { (path, at(front, path, token).await.status) }
        });
        let asked = async {
            let (mut of_main, mut of_partner) = (0, 0);
            while of_main == 0 || of_partner == 0 {
                sleep(Duration::from_millis(5)).await;
                of_main += main.backend.seen().len();
                of_partner += partner.backend.seen().len();
            }
            for desk in [&main, &partner] {
                desk.answering.send_replace(true);
            }
            (of_main, of_partner)
        };
        let all = futures_util::future::join_all(all);
        let (all, asked) = within(futures_util::future::join(all, asked)).await;
        for (path, status) in all {
            let want = match (path, of_main) {
                ("/ours" | "/foo", true) | ("/theirs", false) => 200,
                ("/bar", true) => 403,
                _ => 401,
            };
            assert_eq!(status, want, "{path} {token}");
        }
        let later = [&main, &partner].map(|desk| desk.backend.seen().len());
        assert_eq!((asked.0 + later[0], asked.1 + later[1]), (1, 1), "each is asked once");
    }
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

/// Of a holder's key (RFC 7638).
fn thumbprint(holder: &Ed25519KeyPair) -> String {
    let key = URL_SAFE_NO_PAD.encode(holder.public_key());
    let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{key}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

#[tokio::test]
async fn a_proof_is_good_once_whoever_of_the_workers_sees_it_and_after_a_reload() {
    let (desk, backend) = (Desk::open().await, Backend::hello().await);
    let gateway = Gateway::start(&desk.rules(&backend, "")).await;
    let front = &gateway.serving;
    let holder = Ed25519KeyPair::generate().unwrap();
    let mut answer = ada();
    answer["cnf"] = json!({"jkt": thumbprint(&holder)});
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

/// Where only bound tokens are taken, nobody is asked about one that comes without a proof, and none is good that is bound to nobody.
#[tokio::test]
async fn a_token_of_nobody_is_none_where_tokens_have_to_be_bound() {
    let (desk, backend) = (Desk::open().await, Backend::hello().await);
    let rules = desk.rules(&backend, "");
    let holder = Ed25519KeyPair::generate().unwrap();
    let mut answer = ada();
    desk.says("bound", answer.clone());
    let free = Serving::start(&format!("{HEAD}{rules}")).await;
    assert_eq!(ask(&free, "bound", "").await.status, 200);
    desk.backend.seen();
    let only = rules.replace("[auth.jwt.main]", "[auth.jwt.main]\nbound_only = true");
    let front = Serving::start(&format!("{HEAD}{only}")).await;
    let refused = ask(&front, "bound", "").await;
    assert_eq!((refused.status, desk.backend.seen().len()), (401, 0));
    let offered = headers(&refused.head, "www-authenticate");
    assert!(
        !offered.is_empty() && offered.iter().all(|offer| offer.starts_with("DPoP ")),
        "{offered:?}"
    );
    // With a proof, and bound to nobody all the same.
    assert_eq!(ask(&front, "bound", &proof(&holder, "1")).await.status, 401);
    assert_eq!(desk.backend.seen().len(), 1);
    answer["cnf"] = json!({"jkt": thumbprint(&holder)});
    desk.says("bound", answer);
    let other = Serving::start(&format!("{HEAD}{only}")).await;
    backend.seen();
    assert_eq!(ask(&other, "bound", &proof(&holder, "2")).await.status, 200);
    let stranger = Ed25519KeyPair::generate().unwrap();
    assert_eq!(ask(&other, "bound", &proof(&stranger, "3")).await.status, 401);
    assert_eq!(ask(&other, "bound", "").await.status, 401);
    assert_eq!(backend.seen().len(), 1);
}
