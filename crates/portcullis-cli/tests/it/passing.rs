//! What passes through the program, and what it makes of back ends that fail.
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::support::{Backend, Reply, Serving, header, headers, ok, within};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway that passes everything on to these servers; `more` is added to the upstream, `route` to the route.
pub(crate) async fn open(servers: &[String], more: &str, route: &str) -> Serving {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    Serving::start(&format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n\
         [upstreams.b]\nservers = [{}]\n{more}\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\n{route}\n",
        servers.join(", ")
    ))
    .await
}

async fn in_front_of(backend: &Backend) -> Serving {
    open(&[format!("http://{}", backend.address)], "timeout = \"1s\"", "to = \"b\"").await
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_request_and_its_answer_pass_and_what_belongs_to_a_connection_does_not() {
    let backend = Backend::answering(|_| {
        Reply::Bytes(
            b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-own: 1\r\nx-hop: 1\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nproxy-authenticate: x\r\nserver: b\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nok"
                .to_vec(),
        )
    })
    .await;
    let front = in_front_of(&backend).await;
    let request = "POST /a/b?c=d&e HTTP/1.1\r\nHost: Shop.Example:80\r\nAccept: */*\r\nX-Two: 1\r\nX-Two: 2\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nTE: trailers, deflate\r\nVia: 1.0 before\r\nCookie: a=1; b=2\r\nAuthorization: Basic x\r\nContent-Length: 5\r\n\r\nhello";
    let answer = front.ask(request).await;
    assert_eq!((answer.status, answer.text().as_str()), (201, "ok"));
    for (name, want) in [
        ("x-own", Some("1")),
        ("server", Some("b")),
        ("via", Some("1.1 portcullis")),
        ("x-hop", None),
        ("keep-alive", None),
        ("proxy-authenticate", None),
    ] {
        assert_eq!(answer.header(name), want, "{name}");
    }
    assert_eq!(headers(&answer.head, "set-cookie"), ["a=1", "b=2"]);
    let seen = backend.seen();
    let [seen] = seen.as_slice() else { panic!("{seen:#?}") };
    assert!(
        seen.starts_with("POST /a/b?c=d&e HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nhello"),
        "{seen}"
    );
    for (name, want) in [
        ("host", &["shop.example"][..]),
        ("accept", &["*/*"]),
        ("x-two", &["1", "2"]),
        ("cookie", &["a=1; b=2"]),
        ("authorization", &["Basic x"]),
        ("content-length", &["5"]),
        ("te", &["trailers"]),
        ("via", &["1.0 before", "1.1 portcullis"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["shop.example"]),
        ("keep-alive", &[]),
        ("proxy-authorization", &[]),
        ("connection", &["te"]),
    ] {
        assert_eq!(headers(seen, name), want, "{name} in {seen}");
    }
    assert_eq!(headers(seen, "x-request-id"), [answer.header("x-request-id").unwrap()]);
    assert_eq!(headers(seen, "traceparent").len(), 1);
}

#[tokio::test]
async fn a_connection_that_went_stale_fails_no_get() {
    // It says nothing of it, and closes behind every third answer.
    let backend = Backend::answering(|request| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
        if request.contains("/last") { Reply::ThenClose(answer) } else { Reply::Bytes(answer) }
    })
    .await;
    let front = in_front_of(&backend).await;
    let mut client = front.connect().await;
    for round in 0..300 {
        let path = if round % 3 == 0 { "/last" } else { "/more" };
        client.send(get(path)).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{round}");
    }
    assert!(backend.connections() >= 100);
}

#[tokio::test]
async fn what_a_back_end_may_have_seen_is_sent_again_only_if_it_is_safe() {
    // Every connection serves one request, and closes when the next one comes.
    let backend = Backend::answering({
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        move |_| {
            let count = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if count.is_multiple_of(2) { ok("hello") } else { Reply::Close }
        }
    })
    .await;
    let front = in_front_of(&backend).await;
    assert_eq!(front.ask(get("/first")).await.status, 200);
    // On the kept connection it meets the close; then it comes again on a new one.
    assert_eq!(front.ask(get("/second")).await.status, 200);
    let seen = backend.seen();
    assert_eq!(
        seen.iter().filter(|request| request.starts_with("GET /second")).count(),
        2,
        "{seen:#?}"
    );
    let answer = front.ask(post("/third", "x")).await;
    assert_eq!(answer.status, 502, "it may have been done");
    let seen = backend.seen();
    assert_eq!(
        seen.iter().filter(|request| request.starts_with("POST /third")).count(),
        1,
        "{seen:#?}"
    );
}

#[tokio::test]
async fn a_back_end_that_takes_no_connection_is_passed_over() {
    let backend = Backend::hello().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [format!("http://{closed}"), format!("http://{}", backend.address)];
    let front = open(&servers, "", "to = \"b\"").await;
    for round in 0..50 {
        assert_eq!(front.ask(get("/")).await.status, 200, "{round}");
        assert_eq!(front.ask(post("/", "x")).await.status, 200, "nothing was sent: {round}");
    }
    let alone = open(&servers[..1], "", "to = \"b\"").await;
    let answer = alone.ask(get("/")).await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("upstream-unreachable") && !answer.text().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_back_end_that_does_not_answer_is_a_504_in_time() {
    let backend = Backend::answering(|_| Reply::Never).await;
    let front = in_front_of(&backend).await;
    let since = Instant::now();
    let answer = front.ask(get("/")).await;
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("upstream-timeout"));
    assert!(since.elapsed() >= SECOND && since.elapsed() < 8 * SECOND, "{:?}", since.elapsed());
    // A route's own limit may be shorter.
    let server = [format!("http://{}", backend.address)];
    let front = open(&server, "", "to = \"b\"\ntimeout = \"200ms\"").await;
    let since = Instant::now();
    assert_eq!(front.ask(get("/")).await.status, 504);
    assert!(since.elapsed() < 8 * SECOND);
}

#[tokio::test]
async fn hints_and_trailers_pass() {
    let backend = Backend::answering(|_| {
        Reply::Bytes(
            b"HTTP/1.1 103 Early Hints\r\nlink: </s.css>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let front = in_front_of(&backend).await;
    let mut client = front.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").await;
    let early = client.answer().await.unwrap();
    assert_eq!((early.status, header(&early.head, "link")), (103, Some("</s.css>")));
    within(async {
        while !client.read.ends_with(b"0\r\nx-sum: 6\r\n\r\n") {
            let mut more = [0; 4096];
            let count = client.stream.read(&mut more).await.unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&client.read));
            client.read.extend_from_slice(&more[..count]);
        }
    })
    .await;
    let text = String::from_utf8(client.read).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_protocol_is_changed_and_bytes_go_both_ways() {
    let backend = Backend::answering(|request| {
        if header(request, "upgrade") == Some("websocket")
            && header(request, "connection") == Some("upgrade")
            && header(request, "sec-websocket-key") == Some("k")
        {
            return Reply::Echo(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: a\r\n\r\nfirst"
                    .to_vec(),
            );
        }
        ok("no")
    })
    .await;
    let front = in_front_of(&backend).await;
    let mut client = front.connect().await;
    client
        .send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n")
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("a"));
    let mut got = client.read.clone();
    client.send("hello").await;
    within(async {
        while got.len() < 10 {
            let mut more = [0; 100];
            let count = client.stream.read(&mut more).await.unwrap();
            assert!(count > 0);
            got.extend_from_slice(&more[..count]);
        }
    })
    .await;
    assert_eq!(String::from_utf8(got).unwrap(), "firsthello");
    client.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(client.stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"", "both sides are done");
}

#[tokio::test]
async fn paths_and_headers_are_rewritten_as_the_route_says() {
    let backend = Backend::answering(|_| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-secret: 1\r\nserver: b\r\n\r\nok".to_vec(),
        )
    })
    .await;
    let server = [format!("http://{}", backend.address)];
    for (route, path, want) in [
        ("to = \"b\"\nadd_prefix = \"/v2\"", "/books/7?x", "GET /v2/books/7?x "),
        ("to = \"b\"\nrewrite = \"/v2/{rest}/end\"", "/books/7", "GET /v2/books/7/end "),
        ("to = \"b\"\nrewrite = \"/fixed\"", "/books/7?q=1", "GET /fixed?q=1 "),
    ] {
        let front = open(&server, "", route).await;
        assert_eq!(front.ask(get(path)).await.status, 200, "{route}");
        let seen = backend.seen();
        assert!(seen.len() == 1 && seen[0].starts_with(want), "{route}: {seen:#?}");
    }
    // What a rewrite makes is read again: it may say something that nobody asked about.
    let front = open(&server, "", "to = \"b\"\nrewrite = \"/v2/{rest}/../x\"").await;
    assert_eq!(front.ask(get("/a")).await.status, 400);
    assert!(backend.seen().is_empty());
    let route = "to = \"b\"\nrequest_headers = { x-team = \"shop\", x-debug = \"\" }\nresponse_headers = { x-secret = \"\", server = \"s\" }";
    let front = open(&server, "host = \"server\"", route).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nx-team: other\r\nx_debug: 2\r\nx-debug: 1\r\n\r\n";
    let answer = front.ask(request.replace("x_debug: 2\r\n", "")).await;
    assert_eq!((answer.header("x-secret"), answer.header("server")), (None, Some("s")));
    let seen = backend.seen();
    assert_eq!(headers(&seen[0], "x-team"), ["shop"]);
    assert!(headers(&seen[0], "x-debug").is_empty());
    assert_eq!(headers(&seen[0], "host"), [backend.address.to_string()]);
}

#[tokio::test]
async fn a_share_goes_elsewhere_and_a_client_stays_where_it_was() {
    let (stable, canary) =
        (Backend::answering(|_| ok("stable")).await, Backend::answering(|_| ok("canary")).await);
    let file = format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n\
         [upstreams.stable]\nservers = [\"http://{}\"]\n[upstreams.canary]\nservers = [\"http://{}\"]\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = {{ stable = 80, canary = 20 }}\nsticky = \"cookie:release\"\n",
        stable.address, canary.address
    );
    let front = Serving::start(&file).await;
    let (mut counts, mut cookies) = ([0, 0], Vec::new());
    for _ in 0..400 {
        let answer = front.ask(get("/")).await;
        let is_canary = answer.text() == "canary";
        counts[usize::from(is_canary)] += 1;
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        assert!(
            cookie.starts_with("release=") && cookie.contains("; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        cookies.push((cookie.split(';').next().unwrap().to_owned(), answer.text()));
    }
    assert!((30..140).contains(&counts[1]), "about 80 of 400: {counts:?}");
    for (cookie, text) in cookies.into_iter().take(50) {
        let answer =
            front.ask(format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\n\r\n")).await;
        assert_eq!(answer.text(), text);
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn a_shadow_gets_copies_and_nobody_waits_for_it() {
    let (backend, shadow) = (Backend::hello().await, Backend::answering(|_| Reply::Never).await);
    let file = format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n\
         [upstreams.b]\nservers = [\"http://{}\"]\n[upstreams.shadow]\nservers = [\"http://{}\"]\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"b\"\nmirror = {{ to = \"shadow\" }}\n",
        backend.address, shadow.address
    );
    let front = Serving::start(&file).await;
    let since = Instant::now();
    assert_eq!(front.ask(get("/a")).await.text(), "hello");
    assert_eq!(front.ask(post("/b", "body")).await.text(), "hello");
    assert_eq!(front.ask(post("/c", &"x".repeat(100_000))).await.text(), "hello");
    assert!(since.elapsed() < 8 * SECOND);
    let mut copies = Vec::new();
    within(async {
        while copies.len() < 2 {
            copies.extend(shadow.seen());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    copies.sort();
    assert!(copies[0].starts_with("GET /a ") && copies[1].starts_with("POST /b "), "{copies:#?}");
    assert!(copies[1].ends_with("\r\n\r\nbody"));
    assert_eq!(copies.len(), 2, "one that is too large is not copied");
}

#[tokio::test]
async fn a_back_end_that_is_not_well_gets_nothing_and_comes_back() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    let sick = Arc::new(AtomicBool::new(true));
    let is_sick = Arc::clone(&sick);
    let well = Backend::answering(|_| ok("well")).await;
    let other = Backend::answering(move |request| {
        if request.starts_with("GET /healthz ") && is_sick.load(SeqCst) {
            return Reply::Bytes(b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec());
        }
        ok("other")
    })
    .await;
    let servers = [format!("http://{}", well.address), format!("http://{}", other.address)];
    let health = "health = { path = \"/healthz\", interval = \"50ms\", timeout = \"1s\", fall = 2, rise = 2 }\nbalance = \"round_robin\"";
    let front = open(&servers, health, "to = \"b\"").await;
    // The first check decides; until then nobody knows.
    within(async {
        while front.ask(get("/")).await.text() == "other" || other.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        assert_eq!(front.ask(get("/")).await.text(), "well");
    }
    sick.store(false, SeqCst);
    within(async {
        while front.ask(get("/")).await.text() != "other" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    let backend = Backend::answering(|_| Reply::Never).await;
    let server = [format!("http://{}", backend.address)];
    let front = open(&server, "timeout = \"60s\"\nconnections = 3", "to = \"b\"").await;
    // More than there may be connections: each must be given back.
    for _ in 0..12 {
        let mut client = front.connect().await;
        client.send(get("/")).await;
        within(async {
            while backend.seen().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        drop(client);
    }
}

#[tokio::test]
async fn a_body_passes_whatever_the_method() {
    let backend = Backend::hello().await;
    let front = in_front_of(&backend).await;
    for method in ["GET", "DELETE", "POST"] {
        let request = format!(
            "{method} /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        assert_eq!(front.ask(request).await.status, 200);
        let seen = backend.seen();
        assert!(seen[0].ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{method}: {seen:#?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_not_the_back_ends_fault() {
    let (one, two) =
        (Backend::answering(|_| ok("one")).await, Backend::answering(|_| ok("two")).await);
    let servers = [format!("http://{}", one.address), format!("http://{}", two.address)];
    let more = "timeout = \"200ms\"\nbalance = \"round_robin\"\noutliers = { failures = 1 }";
    let front = open(&servers, more, "to = \"b\"").await;
    for _ in 0..4 {
        let answer =
            front.ask("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc").await;
        assert_eq!(answer.status, 408, "{answer:?}");
    }
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..4 {
        names.insert(front.ask(get("/")).await.text());
    }
    assert_eq!(names.len(), 2, "both are asked as before: {names:?}");
}

#[tokio::test]
async fn the_log_says_who_was_asked_and_why_there_is_no_answer() {
    let backend =
        Backend::answering(
            |request| {
                if request.contains("/breaks") { Reply::Close } else { ok("fine") }
            },
        )
        .await;
    let (one, two) = (closed_port().await, closed_port().await);
    let front = Serving::start(&format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\nobserve = \"127.0.0.1:0\"\n\
         [upstreams.dead]\nservers = [\"http://{one}\", \"http://{two}\"]\n\
         [upstreams.live]\nservers = [\"http://{0}\"]\n\
         [[routes]]\nmatch = {{ path = \"/dead\" }}\naccess = \"public\"\nto = \"dead\"\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"live\"\nbody_limit = \"1KiB\"\n",
        backend.address
    ))
    .await;
    assert_eq!(front.ask(get("/dead")).await.status, 502);
    let line = front.logged(&["portcullis::access", "url.path=\"/dead\""]).await;
    for part in ["upstream=\"dead\"", "tries=2", &one.to_string(), &two.to_string(), "refused"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let line = front.logged(&["takes no connections"]).await;
    assert!(line.contains("refused"), "{line}");
    assert_eq!(front.ask(get("/fine")).await.status, 200);
    let line = front.logged(&["portcullis::access", "url.path=\"/fine\""]).await;
    let server = format!("server.address=\"http://{}\"", backend.address);
    assert!(line.contains("upstream=\"live\"") && line.contains(&server), "{line}");
    assert!(!line.contains("tries="), "one is not worth a word: {line}");
    assert_eq!(front.ask(post("/breaks", "")).await.status, 502);
    let line = front.logged(&["portcullis::access", "url.path=\"/breaks\""]).await;
    assert!(line.contains(&format!("cause=\"http://{}: ", backend.address)), "{line}");

    let connections = backend.connections();
    assert_eq!(front.ask(post("/large", &"x".repeat(2_000))).await.status, 413);
    let line = front.logged(&["portcullis::access", "url.path=\"/large\""]).await;
    assert!(!line.contains("upstream="), "nobody was asked: {line}");
    assert_eq!(backend.connections(), connections);
}

/// A port where nobody listens.
async fn closed_port() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_tunnel_counts_as_a_connection_and_ends_some_time_after_its_client() {
    let backend = Backend::answering(|_| {
        Reply::Echo(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let server = [format!("http://{}", backend.address)];
    let more = "connections = 1\nconnect_timeout = \"200ms\"\nbody_idle = \"300ms\"";
    let front = open(&server, more, "to = \"b\"").await;
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let mut client = front.connect().await;
    client.send(upgrade).await;
    assert_eq!(client.answer().await.unwrap().status, 101);
    assert_eq!(front.ask(upgrade).await.status, 503, "there is no room for another");
    client.send("ping").await;
    let mut echo = [0; 4];
    within(client.stream.read_exact(&mut echo)).await.unwrap();
    drop(client);
    within(async {
        while front.ask(upgrade).await.status != 101 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_other_origins_read_what_the_route_lets_them() {
    let backend = Backend::hello().await;
    let file = crate::support::guarded(backend.address).replace(
        "match = { path = \"/api/{*rest}\" }",
        "match = { path = \"/api/{*rest}\" }\ncors = { origins = [\"https://good.example\"], methods = [\"PUT\"], headers = [\"x-api-key\"], credentials = true }",
    );
    let front = Serving::start(&file).await;
    let preflight = |path: &str, origin: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\naccess-control-request-method: PUT\r\naccess-control-request-headers: x-api-key\r\n\r\n"
        )
    };
    // Answered before anybody asks who is calling, and not by the back end.
    let answer = front.ask(preflight("/api/me", "https://good.example")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
    for origin in [
        "https://evil.example",
        "null",
        "http://good.example",
        "https://good.example.evil.test",
        "https://goodXexample",
    ] {
        let answer = front.ask(preflight("/api/me", origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let request = format!(
            "GET /api/me HTTP/1.1\r\nhost: a\r\nx-api-key: user-key\r\norigin: {origin}\r\n\r\n"
        );
        let answer = front.ask(request).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, None),
            "{origin}"
        );
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")), "{answer:?}");
    }
    assert!(backend.seen().iter().all(|request| !request.starts_with("OPTIONS")));
    let answer =
        front.ask("GET /api/me HTTP/1.1\r\nhost: a\r\norigin: https://good.example\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (401, Some("https://good.example"))
    );
    let answer = front.ask(preflight("/public/a", "https://good.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "the route says nothing of it");
}

#[tokio::test]
async fn answers_are_compressed_where_the_route_says_so() {
    let backend = Backend::answering(|_| {
        let body = "hello ".repeat(1_000);
        Reply::Bytes(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    })
    .await;
    let server = [format!("http://{}", backend.address)];
    let request = "GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
    let front = open(&server, "", "to = \"b\"\ncompress = true").await;
    let answer = front.ask(request).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(
        answer.body.starts_with(&[0x1f, 0x8b]) && answer.body.len() < 500,
        "{}",
        answer.body.len()
    );
    assert_eq!(front.ask(get("/")).await.header("content-encoding"), None);
    let front = open(&server, "", "to = \"b\"").await;
    assert_eq!(front.ask(request).await.header("content-encoding"), None);
}

/// An upload that asks first (RFC 9110, section 10.1.1) is wanted by the back end or it is not sent.
#[tokio::test]
async fn a_client_that_waits_with_its_body_hears_what_the_back_end_says() {
    let upload =
        "POST /up HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    for (first, then, want) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
        ("", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
        ("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n", "", 413),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = open(&[format!("http://{address}")], "", "to = \"b\"").await;
        let mut client = front.connect().await;
        client.send(upload).await;
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            within(stream.read_buf(&mut read)).await.unwrap();
        }
        let head = String::from_utf8(read).unwrap();
        assert_eq!(header(&head, "expect"), Some("100-continue"), "{head}");
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut answer = client.answer().await.unwrap();
        if want == 200 {
            assert_eq!(answer.status, 100, "{first}");
            client.send("hello").await;
            let mut body = [0; 5];
            within(stream.read_exact(&mut body)).await.unwrap();
            assert_eq!(&body, b"hello");
            stream.write_all(then.as_bytes()).await.unwrap();
            answer = client.answer().await.unwrap();
        }
        assert_eq!(answer.status, want, "{first}");
        if want == 413 {
            // What comes all the same is no request of anybody's, and goes nowhere.
            client.send("GET /").await;
            let mut rest = Vec::new();
            within(stream.read_to_end(&mut rest)).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&rest), "");
        }
    }
}

/// A back end that has answered gets no more of a request, and its connection is nobody else's.
#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_the_last_of_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = open(&[format!("http://{address}")], "", "to = \"b\"").await;
    let mut client = front.connect().await;
    client.send("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\nhello").await;
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"hello") {
        within(stream.read_buf(&mut read)).await.unwrap();
    }
    stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 413);
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
    let next = tokio::spawn(async move { front.ask(get("/next")).await.status });
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        within(stream.read_buf(&mut read)).await.unwrap();
    }
    assert!(read.starts_with(b"GET /next "), "{}", String::from_utf8_lossy(&read));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(within(next).await.unwrap(), 200);
}

/// Waiting for room is a part of the time that a request has.
#[tokio::test]
async fn nothing_is_begun_when_the_time_is_over() {
    // An answer that has begun has all the time it wants, and the only connection is its own.
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let backend = Backend::answering(|seen| match seen.split(' ').nth(1) {
        Some("/first") => Reply::Bytes(half.into()),
        _ => Reply::Never,
    });
    let backend = backend.await;
    let server = [format!("http://{}", backend.address)];
    let front = open(
        &server,
        "connections = 1\nconnect_timeout = \"10s\"\ntimeout = \"300ms\"",
        "to = \"b\"",
    )
    .await;
    let mut first = front.connect().await;
    first.send(get("/first")).await;
    while !first.read.ends_with(b"half") {
        within(first.stream.read_buf(&mut first.read)).await.unwrap();
    }
    let answer = front.ask(get("/second")).await;
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("upstream-timeout"), "{answer:?}");
    // There is room again, and nobody uses it for who has left.
    drop(first);
    assert_eq!(front.ask(get("/third")).await.status, 504);
    let seen = backend.seen();
    let paths: Vec<_> = seen.iter().filter_map(|seen| seen.split(' ').nth(1)).collect();
    assert_eq!(paths, ["/first", "/third"]);
}

/// Chunks, a length, or the end of the connection: each is an end.
#[tokio::test]
async fn an_answer_ends_in_any_of_the_three_ways() {
    let backend = Backend::answering(|seen| match seen.split(' ').nth(1) {
        Some("/chunks") => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n".to_vec(),
        ),
        Some("/close") => {
            Reply::ThenClose(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall".to_vec())
        }
        _ => ok("all"),
    })
    .await;
    let front = in_front_of(&backend).await;
    for path in ["/length", "/chunks", "/close", "/length"] {
        let mut client = front.connect().await;
        for _ in 0..2 {
            // The second one shows that the first has ended as it should.
            client.send(get(path)).await;
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "all"), "{path}");
        }
    }
}
