//! What is made for one caller and must not reach another by the cache: the cases of `docs/security-cases.md`, through the program with
//! the preset `application`.
//!
//! The header names lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{
    ADMIN_HASH, Answer, Backend, Client, Reply, Serving, TempFile, USER_HASH, header, within,
};

/// A gateway with a cache in front of one back end: public routes, and `/account` for whoever is known.
fn cached(backend: &Backend, server: &str) -> String {
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
workers = 1
{server}
[telemetry]
access_log = "off"
[cache]
capacity = "16MiB"
[upstreams.b]
servers = ["http://{}"]
retries = 0
identity = {{ subject = "x-pc-user" }}
[auth.api_key]
keys = [
  {{ id = "uma", hash = "{USER_HASH}", roles = ["user"] }},
  {{ id = "ada", hash = "{ADMIN_HASH}", roles = ["user"] }},
]
[roles.user]
permissions = ["api:use"]
[[routes]]
match = {{ path = "/account/{{*rest}}" }}
access = "authenticated"
cache = true
to = "b"
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "public"
cache = true
to = "b"
"#,
        backend.address
    )
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// An answer of 200 with these lines and this body.
fn answer(lines: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{body}");
    Reply::Bytes(text.into_bytes())
}

fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n{lines}\r\n")
}

/// Whether it came from the cache.
fn is_hit(answer: &Answer) -> bool {
    answer.header("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// One answer over TLS.
async fn ask_securely(
    to: SocketAddr,
    certified: &CertifiedKey<rcgen::KeyPair>,
    request: &str,
) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The server may close without a word about it.
    drop(within(stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Scheme, host, port, path, query, what `Vary` names, and who asks: each has entries of its own, and each is found again.
#[tokio::test]
async fn entries_differ_in_all_that_makes_an_answer() {
    // What it was asked, so that an answer tells which request it was made for.
    let backend = Backend::answering(|request| {
        let host = header(request, "x-forwarded-host").or_else(|| header(request, "host"));
        let scheme = header(request, "x-forwarded-proto").unwrap_or_default();
        let language = header(request, "accept-language").unwrap_or_default();
        let user = header(request, "authorization").unwrap_or_default();
        let body =
            format!("{scheme} {} {} {language} {user}", host.unwrap_or_default(), target(request));
        answer("cache-control: max-age=60\r\nvary: accept-language\r\n", &body)
    })
    .await;
    let certified = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let cert = TempFile::new("cache.pem", &certified.cert.pem());
    let key = TempFile::new("cache.key", &certified.signing_key.serialize_pem());
    let secure = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = cached(&backend, "").replacen(
        "listen = [\"http://127.0.0.1:0\"]",
        &format!(
            "listen = [\"http://127.0.0.1:0\", \"https://{secure}\"]\ncerts = [{{ cert = \"{}\", key = \"{}\" }}]",
            cert.0.display(),
            key.0.display()
        ),
        1,
    );
    let front = Serving::start(&text).await;
    let plain = |host: &str, target: &str, lines: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n")
    };
    let mut asks = Vec::new();
    for host in ["a.example", "b.example", "a.example:8081", "a.example.b.example"] {
        for target in ["/x", "/X", "/x/", "/x?1", "/x?2", "/x?1&2", "/x?2&1", "/x?1%262", "/y"] {
            for language in ["", "accept-language: de\r\n", "accept-language: en\r\n"] {
                asks.push(plain(host, target, language));
            }
        }
    }
    let mut bodies = BTreeSet::new();
    for ask in &asks {
        let answer = front.ask(ask).await;
        assert_eq!(answer.status, 200, "{ask:?}: {answer:?}");
        assert!(!is_hit(&answer), "{ask:?} was answered {answer:?}");
        assert!(bodies.insert(answer.text()), "{ask:?} was answered {answer:?}");
    }
    assert_eq!(backend.seen().len(), asks.len());
    for ask in &asks {
        let first = front.ask_settled(ask).await;
        assert!(is_hit(&first) && bodies.remove(&first.text()), "{ask:?}: {first:?}");
    }
    assert!(bodies.is_empty() && backend.seen().is_empty(), "{bodies:?}");

    // Another scheme is another resource.
    let securely = ask_securely(secure, &certified, &plain("a.example", "/x", "")).await;
    assert!(securely.contains("https a.example /x") && !securely.contains("; hit"), "{securely}");
    // Once it has got there.
    let again = within(async {
        loop {
            let again = ask_securely(secure, &certified, &plain("a.example", "/x", "")).await;
            if !again.contains("; collapsed") {
                return again;
            }
        }
    })
    .await;
    assert!(again.contains("https a.example /x") && again.contains("; hit"), "{again}");
    let plainly = front.ask(plain("a.example", "/x", "")).await;
    assert!(is_hit(&plainly) && plainly.text().starts_with("http a.example"), "{plainly:?}");

    // A host in other letters is the same one, and HEAD is answered from what GET got, with no body.
    let same = front.ask(plain("A.EXAMPLE", "/x", "")).await;
    assert_eq!(same.text(), plainly.text());
    backend.seen();
    let mut client = front.connect().await;
    client.send("HEAD /x HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    client.send(plain("a.example", "/x", "")).await;
    let head = within(client.until(b"\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("; hit"), "{head}");
    assert_eq!(client.answer().await.unwrap().text(), plainly.text());
    assert!(backend.seen().is_empty());

    // Who says who they are shares nothing with who does not, in neither direction.
    for (at, lines) in
        ["authorization: Basic dW1h\r\n", "cookie: session=uma\r\n"].iter().enumerate()
    {
        let mine = front.ask(plain("a.example", "/x", lines)).await;
        assert!(!is_hit(&mine), "{mine:?}");
        let fresh = format!("/private-{at}");
        let mine = front.ask(plain("a.example", &fresh, lines)).await;
        let theirs = front.ask(plain("a.example", &fresh, "")).await;
        assert!(!is_hit(&mine) && !is_hit(&theirs), "{mine:?} {theirs:?}");
        assert!(!theirs.text().contains("dW1h"), "{theirs:?}");
    }
}

impl Client {
    /// What has come up to this, which is read away.
    async fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = crate::support::find(&self.read, end) {
                let part: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&part).into_owned();
            }
            let mut bytes = [0; 4_096];
            let count = self.stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the connection is over: {:?}", self.read);
            self.read.extend_from_slice(&bytes[..count]);
        }
    }
}

/// A request for what is cached may have a body: it is never read as the next request, whether the answer is a hit or not.
#[tokio::test]
async fn the_body_of_a_request_that_the_cache_answers_is_no_request() {
    let backend = Backend::answering(|request| {
        let path = target(request).to_owned();
        answer("cache-control: max-age=60\r\n", &format!("this is {path}"))
    })
    .await;
    let front = Serving::start(&cached(&backend, "")).await;
    let smuggled = get("/admin", "");
    let length = smuggled.len();
    let framed = [
        format!(
            "GET /p HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
        format!(
            "GET /p HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"
        ),
        format!(
            "HEAD /p HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
        format!(
            "POST /p HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
        // What the cache could refuse or answer without asking anybody.
        format!(
            "GET /p HTTP/1.1\r\nhost: shop.example\r\ncache-control: only-if-cached\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
        format!(
            "GET /none HTTP/1.1\r\nhost: shop.example\r\ncache-control: only-if-cached\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
        format!(
            "GET /p HTTP/1.1\r\nhost: shop.example\r\nrange: bytes=0-1\r\ncontent-length: {length}\r\n\r\n{smuggled}"
        ),
    ];
    for request in &framed {
        for is_late in [false, true] {
            // So that it is in the cache.
            front.ask(get("/p", "")).await;
            assert!(is_hit(&front.ask_settled(get("/p", "")).await), "{request:?}");
            backend.seen();
            let mut client = front.connect().await;
            let next = get("/next", "cache-control: no-cache\r\n");
            if is_late {
                let head = crate::support::find(request.as_bytes(), b"\r\n\r\n").unwrap() + 4;
                client.send(&request[..head]).await;
                // An answer may come before the body has.
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                client.send(&request[head..]).await;
                client.send(&next).await;
            } else {
                client.send(format!("{request}{next}")).await;
            }
            let all = within(client.rest()).await;
            assert!(!all.contains("this is /admin"), "{request:?}: {all}");
            let answers = all.matches("HTTP/1.1 ").count();
            assert!((1..=2).contains(&answers), "{request:?}: {all}");
            if answers == 2 {
                assert!(all.contains("this is /next"), "{request:?}: {all}");
            }
            for seen in backend.seen() {
                let line = seen.lines().next().unwrap_or_default();
                assert!(!line.contains("/admin"), "{request:?} reached the back end as {seen:?}");
            }
            // And nobody else gets another answer for it.
            assert_eq!(front.ask(get("/p", "")).await.text(), "this is /p");
        }
    }
}

impl Client {
    /// All that comes before it has been still for a while, or to the end.
    async fn rest(&mut self) -> String {
        let still = std::time::Duration::from_millis(200);
        let mut bytes = [0; 4_096];
        while let Ok(Ok(count)) = tokio::time::timeout(still, self.stream.read(&mut bytes)).await {
            if count == 0 {
                break;
            }
            self.read.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }
}

/// Paths by which a cache that goes by the look of a URL would take an account for a picture.
const DECEIVING: &[&str] = &[
    "/account/x.css",
    "/account/me/x.css",
    "/account;x.css",
    "/account/;x.css",
    "/account%2fx.css",
    "/account/%2fx.css",
    "/account%0ax.css",
    "/account/%0ax.css",
    "/account%00x.css",
    "/account%23x.css",
    "/account%3fx.css",
    "/account/me%3fx.css",
    "/account?x.css",
    "/account/me?x.css",
    "/account/x.js?v=1",
    "/static/..%2faccount",
    "/static/..%2faccount/me",
    "/static/../account/me",
    "/static/..;/account/me",
    "/static/%2e%2e/account/me",
    "/account/../static/x.css",
    "/account/..%2fstatic/x.css",
    "/account/.css",
    "/account/me.css",
    "/account//x.css",
    "/account\\x.css",
    "/favicon.ico",
    "/robots.txt",
    "/static/x.css",
];

/// What a back end says of its answers that does not say that everybody may have them.
const SAID: &[&str] = &[
    "",
    "cache-control: max-age=60\r\n",
    "cache-control: max-age=60\r\nset-cookie: session=new; HttpOnly\r\n",
    "cache-control: private, max-age=60\r\n",
    "cache-control: max-age=60, must-revalidate\r\n",
    "expires: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
    "last-modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n",
    "etag: \"one\"\r\n",
    "cache-control: no-store\r\n",
    "cache-control: no-cache\r\netag: \"one\"\r\n",
];

/// An answer to somebody reaches nobody else, whatever the path looks like: what the answer says decides.
#[tokio::test]
async fn nobody_gets_the_answer_of_somebody_else_by_the_look_of_a_path() {
    let says = Arc::new(AtomicUsize::new(0));
    let now_says = Arc::clone(&says);
    let backend = Backend::answering(move |request| {
        let told = ["x-pc-user", "cookie", "authorization"].map(|name| header(request, name));
        let who: Vec<_> = told.into_iter().flatten().collect();
        answer(SAID[now_says.load(SeqCst)], &format!("<{}>", who.join(" ")))
    })
    .await;
    let callers = [
        ("x-api-key: user-key\r\n", "uma"),
        ("x-api-key: admin-key\r\n", "ada"),
        ("cookie: session=carla\r\n", "session=carla"),
        ("cookie: session=david\r\n", "session=david"),
        ("authorization: Basic ZXJpaw==\r\n", "ZXJpaw=="),
        ("", ""),
    ];
    let mut answered = 0;
    for (at, said) in SAID.iter().enumerate() {
        says.store(at, SeqCst);
        // A cache that has nothing yet.
        let front = Serving::start(&cached(&backend, "")).await;
        for path in DECEIVING {
            // Forwards and backwards, so that each comes after each other one.
            for (lines, name) in callers.iter().chain(callers.iter().rev()) {
                let answer = front.ask(get(path, lines)).await;
                let text = answer.text();
                let what = format!("{path} with {said:?} by {name:?}: {answer:?}");
                for (_, other) in callers.iter().filter(|(_, other)| other != name) {
                    assert!(other.is_empty() || !text.contains(other), "{what}");
                }
                if answer.status == 200 {
                    answered += 1;
                    // The routes of accounts know callers by keys alone; to the others keys say nothing.
                    assert!(text.contains(name) || text == "<>", "{what}");
                    assert!(!(said.contains("no-store") && is_hit(&answer)), "{what}");
                    // What one gets with a cookie in it is for nobody else.
                    assert!(!(said.contains("set-cookie") && is_hit(&answer)), "{what}");
                } else {
                    assert!((400..500).contains(&answer.status) && !is_hit(&answer), "{what}");
                }
            }
        }
        backend.seen();
    }
    assert!(answered > 1_000, "{answered}");
}

/// The names that others look for where a header makes an answer and is not part of its key.
fn names() -> Vec<String> {
    let known = [
        "x-forwarded-host",
        "x-forwarded-scheme",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-for",
        "x-forwarded-server",
        "x-forwarded-prefix",
        "x-forwarded-path",
        "forwarded",
        "x-host",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    let mut names: BTreeSet<String> = known.map(str::to_owned).into();
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    let file = "payloadsallthethings/Web_Cache_Deception__param_miner_lowercase_headers.txt";
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        assert!(std::env::var_os("CI").is_none(), "there is no {file} in {}", folder.display());
        eprintln!("skipped the list: there is no {file} in {}", folder.display());
        return names.into_iter().collect();
    };
    names.extend(text.lines().map(|line| line.trim().to_ascii_lowercase()));
    // Those that end the message elsewhere are cases of their own; a name that is none is refused.
    for framing in ["content-length", "transfer-encoding", "host", "connection", "expect", ""] {
        names.remove(framing);
    }
    assert!(names.len() > 600, "the list has shrunk to {} names", names.len());
    names.into_iter().collect()
}

/// Header after header, an attacker's request comes first, and a back end makes its answer of all that it is sent.
///
/// - Of what the back end names in `Vary`, nothing reaches another client.
/// - Of what it does not name, nothing does but what all clients send of their own accord (`USUAL`): the cache cannot know what made an answer (RFC 9111,
///   section 4.1), so it stores none to a request that has other fields. Nor does anything of a request that says who somebody is, or of an answer that does not say that it may be kept.
#[tokio::test]
async fn no_header_of_one_client_comes_out_at_another() {
    let names = names();
    let by_number = names.clone();
    let backend = Backend::answering(move |request| {
        let lines: Vec<_> = request.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        let says = match target(request).split('/').nth(1).unwrap_or_default() {
            "vary" => {
                let fields = lines.iter().filter_map(|line| line.split_once(':'));
                let number = target(request).rsplit('/').next().unwrap_or_default();
                let name = &by_number[number.parse::<usize>().unwrap()];
                // Some of the list are no names, and are read otherwise.
                let name = name.split(':').next().unwrap_or_default();
                let all = fields.map(|(name, _)| name).chain([name]);
                format!(
                    "cache-control: max-age=60\r\nvary: {}\r\n",
                    all.collect::<Vec<_>>().join(", ")
                )
            }
            "silent" => String::new(),
            _ => "cache-control: max-age=60\r\n".to_owned(),
        };
        answer(&says, &lines.join("\n"))
    })
    .await;
    let front = Serving::start(&cached(&backend, "")).await;
    let (mut passed, mut kept, mut poisoned) = (0, 0, Vec::new());
    for (at, name) in names.iter().enumerate() {
        let canary = format!("canary-{at}-evil.example");
        for kind in ["vary", "silent", "plain", "somebody"] {
            let path = format!("/{kind}/{at}");
            let somebody = if kind == "somebody" { "cookie: session=eve\r\n" } else { "" };
            let attack = front.ask(get(&path, &format!("{name}: {canary}\r\n{somebody}"))).await;
            passed += usize::from(attack.text().contains(&canary));
            backend.seen();
            let mut came_out = false;
            for _ in 0..2 {
                let answer = front.ask(get(&path, "")).await;
                let what = format!("{name} at {path}: {attack:?}, then {answer:?}");
                assert_eq!(answer.status, 200, "{what}");
                came_out |= format!("{}{}", answer.head, answer.text()).contains(&canary);
                kept += usize::from(is_hit(&answer));
                if came_out {
                    assert_eq!(kind, "plain", "{what}");
                    assert!(USUAL.contains(&name.as_str()), "{what}");
                }
            }
            if came_out {
                poisoned.push(name.clone());
            }
        }
    }
    eprintln!(
        "{} names: {passed} requests came to the back end with their canary, {kept} answers from the cache, {} names that nobody named made one: {poisoned:?}",
        names.len(),
        poisoned.len()
    );
    // They must come to the back end, and answers must be kept: nothing else can show that they are kept apart.
    assert!(passed > names.len() && kept > names.len(), "{passed} {kept}");
}

/// What clients send of their own accord: a back end that makes its answer of one of these, and does not say so, is broken for everybody.
const USUAL: [&str; 14] = [
    "accept",
    "cache-control",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "range",
    "referer",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
];

/// What else makes a cache keep what it should not, or for a request that was another one.
#[tokio::test]
async fn no_odd_request_makes_an_answer_for_others() {
    let backend = Backend::answering(|request| {
        let method = request.split(' ').next().unwrap_or_default();
        let line = |name: &str| header(request, name).unwrap_or_default().to_owned();
        let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
        let said = format!(
            "{method} {} body={body} override={} agent={}",
            target(request),
            line("x-http-method-override"),
            line("user-agent")
        );
        if request.contains("bad-") || line("x-big").len() > 2_000 {
            let length = said.len();
            let status = if line("x-big").is_empty() {
                "400 Bad Request"
            } else {
                "431 Request Header Fields Too Large"
            };
            return Reply::Bytes(
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{said}").into_bytes(),
            );
        }
        if line("range") == "bytes=0-3" {
            let (part, of) = (&said[..4], said.len());
            let lines = format!("cache-control: max-age=60\r\ncontent-range: bytes 0-3/{of}\r\ncontent-length: 4\r\n");
            return Reply::Bytes(
                format!("HTTP/1.1 206 Partial Content\r\n{lines}\r\n{part}").into_bytes(),
            );
        }
        answer("cache-control: max-age=60\r\n", &said)
    })
    .await;
    let front = Serving::start(&cached(&backend, "")).await;
    let big = "b".repeat(4_000);
    let attacks = [
        "GET {} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\n\r\ncanary".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n".to_owned(),
        "POST {} HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\n\r\ncanary".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nrange: bytes=0-3\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nrange: bytes=canary\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nx-http-method-override: canary\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nx-method-override: canary\r\nx-http-method: canary\r\n\r\n".to_owned(),
        // An error that a back end makes of what a client adds is kept by nobody who was not told to.
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nuser-agent: bad-canary\r\n\r\n".to_owned(),
        format!("GET {{}} HTTP/1.1\r\nhost: shop.example\r\nx-big: {big}\r\nuser-agent: canary\r\n\r\n"),
        // Other ways to write the host and the path.
        "GET {}\\..\\canary HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET {}\\canary HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET {}#canary HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET {}%00canary HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\\canary\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example:canary\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: canary@shop.example\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nhost: shop.example\r\nhost: canary.example\r\n\r\n".to_owned(),
        "GET http://canary.example{} HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "HEAD {} HTTP/1.1\r\nhost: shop.example\r\nx-canary: canary\r\n\r\n".to_owned(),
        "OPTIONS {} HTTP/1.1\r\nhost: shop.example\r\nx-canary: canary\r\n\r\n".to_owned(),
    ];
    for (at, attack) in attacks.iter().enumerate() {
        let path = format!("/a{at}");
        let mut client = front.connect().await;
        client.send(attack.replacen("{}", &path, 1)).await;
        let made = within(client.rest()).await;
        drop(client);
        let mut texts = Vec::new();
        for host in ["shop.example", "SHOP.example", "shop.example:80"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            let answer = front.ask(&request).await;
            let what = format!("{attack:?} was answered {made:?}, then {answer:?}");
            assert_eq!(answer.status, 200, "{what}");
            let all = format!("{}{}", answer.head, answer.text());
            assert!(!all.contains("canary"), "{what}");
            texts.push(answer.text());
        }
        assert!(texts[0].starts_with(&format!("GET {path} ")), "{texts:?}");
    }
}

/// An answer to who is known is for them alone: it says so to every cache on its way, or is kept by none.
///
/// What the gateway itself refuses is kept by nobody.
#[tokio::test]
async fn answers_to_who_is_known_are_in_no_shared_cache() {
    let is_there = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&is_there);
    let backend = Backend::answering(move |request| {
        if !answers.load(SeqCst) {
            return Reply::Close;
        }
        let user = header(request, "x-pc-user").unwrap_or("nobody").to_owned();
        answer("cache-control: max-age=60\r\n", &format!("for {user}"))
    })
    .await;
    let front = Serving::start(&cached(&backend, "")).await;
    let mine = front.ask(get("/account/1", "x-api-key: user-key\r\n")).await;
    assert_eq!(mine.text(), "for uma");
    // Refusals come between, and are not what anybody else gets.
    let mut refusals = String::new();
    for lines in ["", "x-api-key: wrong-key\r\n", "cookie: session=uma\r\n"] {
        let refused = front.ask(get("/account/1", lines)).await;
        assert!(refused.status == 401 && !is_hit(&refused), "{refused:?}");
        let control = refused.header("cache-control").unwrap_or_default();
        assert!(control.contains("no-store"), "{refused:?}");
        write!(refusals, "{}", refused.text()).unwrap();
    }
    assert!(!refusals.contains("uma"), "{refusals}");
    let theirs = front.ask(get("/account/1", "x-api-key: admin-key\r\n")).await;
    assert!(theirs.text() == "for ada" && !is_hit(&theirs), "{theirs:?}");
    for (key, name) in [("user-key", "uma"), ("admin-key", "ada")] {
        let again = front.ask(get("/account/1", &format!("x-api-key: {key}\r\n"))).await;
        assert!(again.text() == format!("for {name}"), "{again:?}");
    }
    // A failure is never an answer that was made for somebody else, and nothing that goes on.
    is_there.store(false, SeqCst);
    let failed = front.ask(get("/account/2", "x-api-key: user-key\r\n")).await;
    assert!(failed.status >= 500 && !failed.text().contains("uma"), "{failed:?}");
    let refused = front.ask(get("/account/1", "")).await;
    assert!(refused.status == 401, "{refused:?}");
    is_there.store(true, SeqCst);
    let back = front.ask(get("/account/2", "x-api-key: user-key\r\n")).await;
    assert_eq!(back.text(), "for uma");
}
