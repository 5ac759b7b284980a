//! Cases of advisories and of OWASP ASVS; `docs/security-cases.md` lists which test has which.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use portcullis_core::Body;
use portcullis_server::Limits;
use tokio::io::AsyncWriteExt;

use crate::h2::{
    DATA, END_STREAM, Exchange, Field, H2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
    request,
};
use crate::support::{Answer, End, Raw, Running, get, local, ordinary, start, start_with, text};

/// What the application saw: methods and targets, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn watched(server: portcullis_server::Server) -> (Running, Seen) {
    let seen = Seen::default();
    let notes = seen.clone();
    let server = start_with(server, move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri());
        notes.0.lock().unwrap().push(line);
        ordinary(request)
    });
    (server, seen)
}

/// Everything that is answered to these bytes.
async fn answers(server: &Running, bytes: impl AsRef<[u8]>) -> (Vec<u16>, End) {
    let mut client = server.connect().await;
    client.send(bytes).await;
    let (read, end) = client.rest(Duration::from_millis(500)).await;
    let (mut statuses, mut rest) = (Vec::new(), &read[..]);
    while let Some((answer, len)) = Answer::parse(rest, "GET", true) {
        statuses.push(answer.status);
        rest = &rest[len..];
    }
    (statuses, end)
}

/// 48: what is for operators is not on the public listener.
#[tokio::test]
async fn operators_have_a_place_of_their_own() {
    let side = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(text("metrics"))
    });
    let open = local().side("127.0.0.1:0", side);
    let (handle, stats) = (open.handle(), open.stats());
    let open = open.open().unwrap();
    let aside = open.addresses()[1];
    let server = crate::support::start_open(open, handle, stats, tower::service_fn(ordinary));
    for path in ["/debug/pprof", "/metrics", "/config", "/healthz"] {
        assert_eq!(server.ask(get(path)).await.status, 404, "{path}");
    }
    let mut operator = Raw::new(tokio::net::TcpStream::connect(aside).await.unwrap());
    operator.send(get("/metrics")).await;
    assert_eq!(operator.answer().await.text(), "metrics");
}

#[tokio::test]
async fn http_1_0_knows_no_upgrades() {
    let server = start_with(local(), |request: Request<Body>| async move {
        Ok(text(format!("{}", request.headers().contains_key("upgrade"))))
    });
    for (version, want) in [("1.0", "false"), ("1.1", "true")] {
        let ask = format!("GET / HTTP/{version}\r\nhost: a\r\nupgrade: websocket\r\n\r\n");
        assert_eq!(server.ask(ask).await.text(), want);
    }
}

/// 49: an upgrade that is not taken leaves the connection what it was; what follows is read as requests.
#[tokio::test]
async fn an_upgrade_that_is_not_taken_changes_nothing() {
    let (server, seen) = watched(local());
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (statuses, _) = answers(&server, [upgrade, &get("/admin")].concat()).await;
    assert_eq!(statuses, [200, 404]);
    assert_eq!(seen.all(), ["GET /", "GET /admin"]);
}

/// 53 and ASVS 4.1.4: methods that nobody serves here.
#[tokio::test]
async fn methods_that_are_refused_never_reach_the_application() {
    let (server, seen) = watched(local());
    for (line, want) in [
        ("CONNECT b:80 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("FOOBAR / HTTP/1.1", 501),
        ("get / HTTP/1.1", 501),
        ("PRI * HTTP/1.1", 400),
    ] {
        // Whatever follows is not taken for a request.
        let (statuses, end) =
            answers(&server, format!("{line}\r\nhost: b:80\r\n\r\n{}", get("/"))).await;
        if line.starts_with("PRI") {
            assert!(matches!(statuses[..], [400 | 501]), "{line}: {statuses:?}");
        } else {
            assert_eq!(statuses, [want], "{line}");
        }
        assert_eq!(end, End::Closed, "{line}");
    }
    assert!(seen.all().is_empty(), "{:?}", seen.all());
}

/// 54: names and lengths that have been read in two ways.
#[tokio::test]
async fn names_and_lengths_that_are_odd() {
    let (server, seen) = watched(local());
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let long = "a".repeat(270 - "content-length".len());
    for (headers, want) in [
        (": empty".to_owned(), Some(400)),
        ("content-length:".to_owned(), Some(400)),
        ("content-length: ".to_owned(), Some(400)),
        ("content-length: +5".to_owned(), Some(400)),
        ("content-length: 5\r\ncontent-length: 6".to_owned(), Some(400)),
        ("content-length: 18446744073709551616".to_owned(), Some(400)),
        // A name of 270 bytes (CVE-2021-40346) is a name like any other.
        (format!("content-length{long}: 5\r\ncontent-length: {}", smuggled.len()), None),
    ] {
        let bytes = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{smuggled}");
        let (statuses, end) = answers(&server, bytes).await;
        assert_eq!(statuses, [want.unwrap_or(200)], "{headers}");
        assert_eq!(end == End::Closed, want.is_some(), "{headers}");
    }
    assert_eq!(seen.all(), ["POST /echo"]);
}

/// Sends one HTTP/2 request on a connection of its own.
async fn over_h2(
    server: &Running,
    head: &[u8],
    data: Option<&[u8]>,
) -> (Exchange, Vec<(u32, u32)>) {
    let mut client = H2::connect(server).await;
    let flags = if data.is_none() { END_STREAM } else { 0 };
    client.ask(1, flags, head).await;
    if let Some(data) = data {
        client.send(frame(DATA, END_STREAM, 1, data)).await;
    }
    let outcome = client.outcome(1).await;
    (outcome, client.goodbyes)
}

fn is_refused((exchange, goodbyes): &(Exchange, Vec<(u32, u32)>)) -> bool {
    let by_status = exchange.status.is_some_and(|status| (400..500).contains(&status));
    by_status || exchange.reset.is_some() || goodbyes.iter().any(|(_, error)| *error != 0)
}

/// 55: a length that HTTP/2's frames contradict.
#[tokio::test]
async fn an_http2_body_is_as_long_as_it_says() {
    let complete = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&complete);
    let server = start_with(local(), move |request: Request<Body>| {
        let count = Arc::clone(&count);
        async move {
            if portcullis_testkit::collect(request.into_body()).await.is_ok() {
                count.fetch_add(1, SeqCst);
            }
            Ok(text("read"))
        }
    });
    let length = |len: &'static [u8]| request("POST", "/", &[(b"content-length", len)]);
    for (head, data, what) in [
        (length(b"10"), None, "nothing"),
        (length(b"10"), Some(&b"0123456789x"[..]), "one more"),
        (length(b"10"), Some(b"012345678"), "one less"),
        (length(b"-1"), Some(b""), "a negative length"),
    ] {
        let outcome = over_h2(&server, &head, data).await;
        assert!(outcome.0.status.is_none_or(|status| status < 500), "{what}: {outcome:?}");
        assert!(is_refused(&outcome) || complete.load(SeqCst) == 0, "{what}: {outcome:?}");
        assert_eq!(complete.load(SeqCst), 0, "{what}");
    }
    let outcome = over_h2(&server, &length(b"10"), Some(b"0123456789")).await;
    assert_eq!((outcome.0.status, complete.load(SeqCst)), (Some(200), 1));
}

/// 56: what HTTP/2 can carry and HTTP/1.1 cannot say.
#[tokio::test]
async fn http2_fields_that_would_break_a_line() {
    let (server, seen) = watched(local());
    let heads: Vec<(&str, Vec<u8>)> = vec![
        ("LF in a path", request("GET", "/\nx: y", &[])),
        ("CR in a path", request("GET", "/\rx", &[])),
        ("NUL in a path", request("GET", "/\0", &[])),
        ("a space in a path", request("GET", "/ HTTP/1.1", &[])),
        ("a space in a method", request("GET /x", "/", &[])),
        ("LF in a method", request("GET\n", "/", &[])),
        ("LF in a value", request("GET", "/", &[(b"x-a", b"b\nc: d")])),
        ("CR in a value", request("GET", "/", &[(b"x-a", b"b\rc")])),
        ("NUL in a value", request("GET", "/", &[(b"x-a", b"b\0c")])),
        ("LF in a name", request("GET", "/", &[(b"x-a\nb", b"c")])),
        ("a space in a name", request("GET", "/", &[(b"x a", b"c")])),
        ("a colon in a name", request("GET", "/", &[(b"x:a", b"c")])),
        ("an empty name", request("GET", "/", &[(b"", b"c")])),
        ("capitals in a name", request("GET", "/", &[(b"X-A", b"c")])),
        ("a transfer coding", request("GET", "/", &[(b"transfer-encoding", b"chunked")])),
        ("a connection header", request("GET", "/", &[(b"connection", b"x-a")])),
        ("another host", request("GET", "/", &[(b"host", b"b")])),
        ("two hosts", request("GET", "/", &[(b"host", b"a"), (b"host", b"a")])),
        ("a late pseudo-header", request("GET", "/", &[(b"x-a", b"b"), (b":path", b"/b")])),
    ];
    for (what, head) in &heads {
        let outcome = over_h2(&server, head, None).await;
        assert!(is_refused(&outcome), "{what}: {outcome:?}");
    }
    let authority = |authority: &'static [u8]| {
        let fields: [Field<'_>; 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", b"/"),
            (b":authority", authority),
        ];
        block(&fields)
    };
    for host in [&b"a b"[..], b"a\nb", b"a\0", b"user@a", b"a/b", b"a,b", b""] {
        let outcome = over_h2(&server, &authority(host), None).await;
        assert!(is_refused(&outcome), "{:?}: {outcome:?}", String::from_utf8_lossy(host));
    }
    assert!(seen.all().is_empty(), "{:?}", seen.all());
    let outcome = over_h2(&server, &request("GET", "/", &[(b"host", b"a")]), None).await;
    assert_eq!(outcome.0.status, Some(200), "the same host twice over is one host");
}

/// 57: the target and the Host header name one host.
#[tokio::test]
async fn two_hosts_are_no_host() {
    let (server, seen) = watched(local());
    for (target, host, want) in [
        ("http://evil/a", "good", 400),
        ("http://good@evil/a", "good", 400),
        ("http://good/", "good", 200),
        ("HTTP://GOOD/", "good", 200),
        ("http://good:80/", "good", 200),
    ] {
        let (statuses, _) =
            answers(&server, format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        // The ordinary service knows the path and nothing of hosts.
        assert_eq!(statuses, [want], "{target}");
    }
    assert_eq!(seen.all().len(), 3);
}

/// 58: of each kind that floods are made of, a few are nothing. Floods themselves are run by `chaos`.
#[tokio::test]
async fn a_few_odd_frames_are_harmless() {
    let server = start(local());
    let mut client = H2::connect(&server).await;
    for round in 0..3u32 {
        let stream = 2 * round + 1;
        client.send(frame(PING, 0, 0, &[0; 8])).await;
        client.send(frame(SETTINGS, 0, 0, &[])).await;
        client.send(frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())).await;
        client.send(frame(0xfa, 0, 0, b"of a kind that nobody knows")).await;
        client.ask(stream, 0, &request("POST", "/echo", &[])).await;
        client.send(frame(DATA, 0, stream, &[])).await;
        client.send(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())).await;
    }
    client.ask(9, 0, &request("POST", "/echo", &[])).await;
    for piece in ["h", "e", "", "l", "l", "o"] {
        client.send(frame(DATA, 0, 9, piece.as_bytes())).await;
    }
    client.send(frame(DATA, END_STREAM, 9, &[])).await;
    let answer = client.outcome(9).await;
    assert_eq!((answer.status, &answer.body[..]), (Some(200), &b"hello"[..]));
    assert_eq!((client.pongs, client.goodbyes.len()), (3, 0));
}

/// 59: a body without end is answered when it passes the limit, and not read on.
#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let server = start(local());
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let mebibyte = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    let (reading, mut writing) = client.stream.into_split();
    let upload = async {
        while sent < 64 && writing.write_all(&mebibyte).await.is_ok() {
            sent += 1;
        }
        writing
    };
    let answer = async {
        let mut client = Raw::new(tokio::io::join(reading, tokio::io::sink()));
        client.answer().await
    };
    let (_writing, answer) = crate::support::within(async { tokio::join!(upload, answer) }).await;
    answer.assert_problem(413, "body-too-large");
    // The limit is two; the rest lies in the buffers of the kernel.
    assert!(sent < 32, "{sent} MiB");
    server.assert_well().await;
}

/// ASVS 3.4: the headers that every answer should have stand on those that the server makes itself.
#[tokio::test]
async fn answers_of_the_server_itself_are_hardened() {
    let server = start(local().limits(Limits::default().header_time(Duration::from_secs(1))));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 400),
        ("NOT HTTP\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("GET / HTTP/1.1\r\nhost".to_owned(), 408),
        (get(&format!("/{}", "a".repeat(9_000))), 414),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: more\r\n\r\n".to_owned(), 417),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(20_000)), 431),
        ("FOO / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 501),
    ] {
        let answer = server.ask(&bytes).await;
        assert_eq!(answer.status, status, "{answer:?}");
        for (name, want) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("cache-control", "no-store"),
            ("content-type", "application/problem+json"),
            ("connection", "close"),
        ] {
            assert_eq!(answer.header(name), Some(want), "{status}: {name}");
        }
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32, "{status}");
        assert_eq!(answer.header("server"), None, "{status}");
        // RFC 9110, section 15.5.6: a 405 says what would do.
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:?}");
    }
}

/// ASVS 4.2.1: where a message ends is said in one way only.
#[tokio::test]
async fn framing_is_read_in_one_way() {
    let (server, seen) = watched(local());
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for (version, headers) in [
        ("1.0", "transfer-encoding: chunked"),
        ("1.1", "transfer-encoding: cow, chunked"),
        ("1.1", "transfer-encoding: chunked, chunked"),
        ("1.1", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        ("1.1", "transfer-encoding: identity\r\ncontent-length: 5"),
        ("1.1", "transfer-encoding: xchunked\r\ncontent-length: 5"),
        ("1.1", "transfer_encoding: chunked\r\ncontent-length: 5"),
        ("1.1", "transfer-encoding : chunked"),
        ("1.1", "transfer-encoding:\x0bchunked"),
        ("1.1", "content-length: 5, 5"),
    ] {
        let bytes = format!("POST /echo HTTP/{version}\r\nhost: a\r\n{headers}\r\n\r\n{smuggled}");
        let (statuses, end) = answers(&server, bytes).await;
        assert!(matches!(statuses[..], [400 | 501]), "{headers}: {statuses:?}");
        assert_eq!(end, End::Closed, "{headers}");
    }
    assert!(seen.all().is_empty(), "{:?}", seen.all());
}
