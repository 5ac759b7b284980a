//! The cases of advisories against other gateways, each as an exchange: what a client sends, what it is answered, and what the back
//! end sees. The numbers are those of `docs/security-cases.md`.
use crate::support::{Backend, Client, Reply, Serving, guarded, header, headers, ok};

/// What the back end may see of a request.
enum AtB {
    /// Nothing.
    Nothing,
    /// A request that is like this.
    Seen(fn(&str) -> bool),
    /// Nothing, or a request that is like this.
    AtMost(fn(&str) -> bool),
}

use AtB::{AtMost, Nothing, Seen};

async fn check(front: &Serving, backend: &Backend, rows: &[(&str, String, &[u16], AtB)]) {
    backend.seen();
    for (case, request, statuses, at_b) in rows {
        let answer = front.ask(request).await;
        assert!(statuses.contains(&answer.status), "{case}: {request:?} was answered {answer:?}");
        let seen = backend.seen();
        let fine = match (at_b, seen.as_slice()) {
            (Nothing | AtMost(_), []) => true,
            (Seen(like) | AtMost(like), [request]) => like(request),
            _ => false,
        };
        assert!(fine, "{case}: {request:?} reached the back end as {seen:#?}");
    }
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n{lines}\r\n")
}

/// No header of the client's says who is calling, in any spelling.
fn nobody(request: &str) -> bool {
    let names = request.lines().skip(1).filter_map(|line| line.split_once(':'));
    let folded = names.map(|(name, _)| name.to_ascii_lowercase().replace(['_', '.', ' '], "-"));
    let identity: Vec<_> = folded.filter(|name| name.starts_with("x-pc-")).collect();
    identity.is_empty()
}

/// Uma is calling, and that is said once.
fn uma(request: &str) -> bool {
    let names = request.lines().skip(1).filter_map(|line| line.split_once(':'));
    let folded = names.map(|(name, _)| name.to_ascii_lowercase().replace(['_', '.', ' '], "-"));
    let told = folded.filter(|name| name == "x-pc-user").count();
    told == 1
        && header(request, "x-pc-user") == Some("uma")
        && header(request, "x-pc-roles") == Some("user")
}

const KEY: &str = "x-api-key: user-key\r\n";

#[tokio::test]
async fn headers_say_nothing_that_we_did_not_find_out() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let api = |lines: &str| get("/api/me", &format!("{KEY}{lines}"));
    let public = |lines: &str| get("/public/a", lines);
    let rows = [
        ("1", public("X-Pc-Roles: admin\r\n"), &[200][..], Seen(nobody)),
        ("1", api("X-Pc-Roles: admin\r\n"), &[200], Seen(uma)),
        ("2", api("X_Pc_User: root\r\n"), &[200, 400], AtMost(uma)),
        ("2", api("X.Pc.User: root\r\n"), &[200, 400], AtMost(uma)),
        ("2", api("x-pc-user: root\r\nx-pc-user: toor\r\n"), &[200], Seen(uma)),
        ("2", api("X-Pc_User: root\r\nx-pc.ROLES: admin\r\n"), &[200, 400], AtMost(uma)),
        ("3", api("X-Pc-User: root\r\n"), &[200], Seen(uma)),
        (
            "4",
            api(
                "Connection: close, X-Pc-User, x-pc-roles, x-forwarded-proto, x-mine\r\nx-mine: 1\r\n",
            ),
            &[200],
            Seen(|request| {
                uma(request)
                    && header(request, "x-forwarded-proto") == Some("http")
                    && header(request, "x-mine").is_none()
                    && header(request, "connection").is_none()
            }),
        ),
        (
            "4",
            api("Connection: X-PC-USER\r\nconnection: Host, content-length\r\n"),
            &[200],
            Seen(|request| uma(request) && header(request, "host") == Some("shop.example")),
        ),
        ("5", get("/admin/x", "X-Forwarded-Uri: /public/a\r\n"), &[401], Nothing),
        (
            "5",
            get("/admin/x", "X-Original-URL: /public/a\r\nX-Rewrite-URL: /public/a\r\n"),
            &[401],
            Nothing,
        ),
        (
            "5",
            get("/admin/x", "X-Original-Method: OPTIONS\r\nX-HTTP-Method-Override: GET\r\n"),
            &[401],
            Nothing,
        ),
        (
            "5",
            public(
                "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-Forwarded-Uri: /admin\r\nX_Original_URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-Method: PUT\r\n",
            ),
            &[200, 400],
            AtMost(|request| {
                !request.to_ascii_lowercase().contains("original")
                    && !request.to_ascii_lowercase().contains("override")
                    && !request.contains("/admin")
            }),
        ),
        ("6", get("/admin/x", "User-Agent: GoogleHC/1.0\r\n"), &[401], Nothing),
        ("6", get("/admin/x", "User-Agent: kube-probe/1.30\r\n"), &[401], Nothing),
        (
            "7",
            public(
                "X-Portcullis-Skip: 1\r\nX-Portcullis-Original-Path: /admin\r\nx_portcullis_skip: 1\r\n",
            ),
            &[200, 400],
            AtMost(|request| !request.to_ascii_lowercase().contains("portcullis-")),
        ),
        ("11", public("X-Userinfo: root\r\nX-Pc-User: root\r\n"), &[200], Seen(nobody)),
        (
            "the key is for us",
            api(""),
            &[200],
            Seen(|request| header(request, "x-api-key").is_none() && uma(request)),
        ),
    ];
    check(&front, &backend, &rows).await;
}

/// Case 11: whatever an upstream is to be told in, a client says nothing in it. What no upstream is told in is a header like others.
#[tokio::test]
async fn a_header_of_any_name_is_ours_where_an_upstream_is_told_in_it() {
    let backend = Backend::hello().await;
    let maybe = "[[routes]]\nmatch = { path = \"/maybe\" }\naccess = \"optional\"\nto = \"b\"\n";
    let usual = format!("{}{maybe}", guarded(backend.address));
    let (user, token) = ("x-userinfo", "x-id-token");
    let told = usual.replace("x-pc-user", user).replace("x-pc-roles", token);
    let front = Serving::start(&told).await;
    let like = |request: &str, name: &str| {
        let names = request.lines().skip(1).filter_map(|line| line.split_once(':'));
        let folded = names.map(|(name, _)| name.to_ascii_lowercase().replace(['_', '.', ' '], "-"));
        folded.filter(|folded| folded == name).count()
    };
    let mut passed = 0;
    for spelled in [
        "X-Userinfo",
        "x-userinfo",
        "X_Userinfo",
        "x.USERINFO",
        "X-ID-Token",
        "X_Id_Token",
        "x-id_token",
        "X.Id-Token",
    ] {
        for path in ["/maybe", "/public/a"] {
            for (key, known) in [("", None), (KEY, Some("uma"))] {
                let known = known.filter(|_| path == "/maybe");
                let lines = format!("{key}{spelled}: eyJzdWIiOiJyb290In0\r\n{spelled}: root\r\n");
                let answer = front.ask(get(path, &lines)).await;
                assert!(matches!(answer.status, 200 | 400), "{spelled}: {}", answer.head);
                let seen = backend.seen();
                assert_eq!(seen.len(), usize::from(answer.status == 200), "{spelled}");
                passed += seen.len();
                for request in seen {
                    let count = usize::from(known.is_some());
                    assert_eq!(
                        (like(&request, user), like(&request, token)),
                        (count, count),
                        "{request}"
                    );
                    assert_eq!(header(&request, user), known, "{request}");
                    assert_eq!(header(&request, token), known.map(|_| "user"), "{request}");
                    assert!(!request.contains("root") && !request.contains("eyJ"), "{request}");
                }
            }
        }
    }
    assert!(passed >= 16, "what is spelled as usual is served");
    let front = Serving::start(&usual).await;
    let request = get("/maybe", "X-Userinfo: theirs\r\nX-Pc-User: root\r\n");
    assert_eq!(front.ask(&request).await.status, 200);
    let seen = backend.seen();
    assert_eq!(header(&seen[0], user), Some("theirs"));
    assert!(nobody(&seen[0]));
}

#[tokio::test]
async fn a_client_does_not_say_where_it_comes_from() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let public = |lines: &str| get("/public/a", lines);
    let rows = [
        (
            "8",
            public(
                "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nx_forwarded_for: 1.2.3.4\r\n",
            ),
            &[200, 400][..],
            AtMost(|request| {
                headers(request, "x-forwarded-for") == ["127.0.0.1"] && !request.contains("1.2.3.4")
            }),
        ),
        (
            "8",
            public(
                "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n",
            ),
            &[200],
            Seen(|request| {
                headers(request, "x-forwarded-for") == ["127.0.0.1"]
                    && headers(request, "x-forwarded-host") == ["shop.example"]
                    && headers(request, "x-forwarded-proto") == ["http"]
                    && !request.contains("1.2.3.4")
                    && !request.contains("evil")
                    && header(request, "x-forwarded-port").is_none()
            }),
        ),
        (
            "9",
            get("/office/x", "X-Real-IP: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.1\r\n"),
            &[403],
            Nothing,
        ),
        (
            "9",
            get("/office/x", "Forwarded: for=10.0.0.1\r\nTrue-Client-IP: 10.0.0.1\r\n"),
            &[403],
            Nothing,
        ),
    ];
    check(&front, &backend, &rows).await;
}

/// P2: for every header that we write the back end gets one, and none that some server would take for it.
#[tokio::test]
async fn no_spelling_of_a_header_that_we_write_passes() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '.', ' '], "-");
    for name in [
        "x-pc-user",
        "x-pc-roles",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
        "traceparent",
    ] {
        let dashes = name.matches('-').count();
        for spelling in 0..3_usize.pow(u32::try_from(dashes).unwrap()) {
            let mut left = spelling;
            let spelled: String = name
                .chars()
                .enumerate()
                .map(|(at, c)| match c {
                    '-' => {
                        let separator = ['-', '_', '.'][left % 3];
                        left /= 3;
                        separator
                    }
                    c if at % 2 == spelling % 2 => c.to_ascii_uppercase(),
                    c => c,
                })
                .collect();
            let request = get("/api/me", &format!("{KEY}{spelled}: evil\r\n"));
            let answer = front.ask(&request).await;
            assert!(matches!(answer.status, 200 | 400), "{spelled}: {answer:?}");
            let seen = backend.seen();
            assert_eq!(seen.len(), usize::from(answer.status == 200), "{spelled}");
            for request in seen {
                let names = request.lines().skip(1).filter_map(|line| line.split_once(':'));
                let like = names.filter(|(given, _)| fold(given) == name).count();
                assert_eq!((like, headers(&request, name).len()), (1, 1), "{spelled}: {request}");
                assert!(!request.contains("evil"), "{spelled}: {request}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_leads_to_one_place() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let plain = |path: &str| get(path, "");
    let at = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let rows = [
        ("15", plain("/public/..%2fadmin/x"), &[400][..], Nothing),
        ("15", plain("/public%2f..%2fadmin"), &[400], Nothing),
        ("15", plain("/%5cadmin"), &[400], Nothing),
        ("16", plain("/strip%2e/admin/secret"), &[400, 401, 404], Nothing),
        (
            "16",
            plain("/strip/%2e/admin/secret"),
            &[200],
            Seen(|request| request.starts_with("GET /admin/secret ")),
        ),
        ("17", plain("/strip../admin"), &[400, 404], Nothing),
        ("17", plain("/strip%2e%2e/admin"), &[400, 404], Nothing),
        ("17", plain("/strip/../admin/x"), &[401], Nothing),
        ("18", plain("/public/../api/me"), &[401], Nothing),
        ("18", plain("/public/%2e%2e/api/me"), &[401], Nothing),
        ("19", plain("//admin/secret"), &[400, 401], Nothing),
        ("19", plain("///admin"), &[400, 401], Nothing),
        ("20", plain("/admin#/public/a"), &[400, 401], Nothing),
        ("20", plain("/admin%23/public/a"), &[400, 401, 404], Nothing),
        ("21", plain("/admin/index%0a"), &[400, 401], Nothing),
        ("21", plain("/admin/index%0d"), &[400, 401], Nothing),
        ("21", plain("/admin/%e2%80%a8"), &[400, 401], Nothing),
        ("23", plain("/admin/x?y=/public/"), &[401], Nothing),
        ("25", at("/x", "admin.example.com"), &[401], Nothing),
        ("25", at("/x", "ADMIN.example.COM"), &[401], Nothing),
        ("25", at("/x", "admin.example.com."), &[401], Nothing),
        ("25", at("/x", "admin.example.com:443"), &[401], Nothing),
        ("25", at("/public/x", "admin.example.com:8080"), &[401], Nothing),
        ("25", at("/here", "a.B.example.com"), &[401], Nothing),
        ("26", plain("/%41dmin/x"), &[401, 404], Nothing),
        ("26", plain("/%61dmin/x"), &[401], Nothing),
        (
            "P1",
            plain("/public/%7euser/%41?a=%2F"),
            &[200],
            Seen(|request| request.starts_with("GET /public/~user/A?a=%2F HTTP/1.1\r\n")),
        ),
    ];
    check(&front, &backend, &rows).await;
}

#[tokio::test]
async fn a_configuration_with_a_pattern_that_matches_nothing_does_not_start() {
    for pattern in ["admin/**", "**", "", "/admin/*"] {
        let file = guarded("127.0.0.1:1".parse().unwrap()).replace("/admin/{*rest}", pattern);
        let file = crate::support::TempFile::new("case22.toml", &file);
        let mut check = crate::support::program();
        let done = check.arg("check").arg("--config").arg(&file.0).output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && said.contains("route `"), "{pattern}: {said}");
    }
}

#[tokio::test]
async fn a_long_list_of_hosts_is_like_a_short_one() {
    let backend = Backend::hello().await;
    let hosts: Vec<_> = (0..150).map(|number| format!("\"h{number}.example.org\"")).collect();
    let file = format!(
        "{}\n[[routes]]\nmatch = {{ path = \"/{{*rest}}\", hosts = [{}] }}\naccess = \"public\"\nto = \"b\"\n",
        guarded(backend.address),
        hosts.join(", ")
    );
    let front = Serving::start(&file).await;
    for host in ["h0.example.org", "h149.EXAMPLE.org", "H75.example.org.:80"] {
        let answer = front.ask(format!("GET /x HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    for host in ["h150.example.org", "xh0.example.org"] {
        let answer = front.ask(format!("GET /x HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{host}");
    }
}

#[tokio::test]
async fn messages_end_where_both_sides_think_they_do() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let smuggled = "0\r\n\r\nGET /admin/x HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = |version: &str, lines: &str| {
        format!("POST /public/x HTTP/{version}\r\nhost: a\r\n{lines}\r\n{smuggled}")
    };
    let alone =
        |request: &str| request.starts_with("POST /public/x ") && !request.contains("/admin");
    let rows = [
        ("50", post("1.0", "transfer-encoding: chunked\r\n"), &[400, 501, 505][..], Nothing),
        ("50", post("1.1", "transfer-encoding: cow, chunked\r\n"), &[400, 501], Nothing),
        (
            "50",
            post("1.1", "transfer-encoding: cow\r\ntransfer-encoding: chunked\r\n"),
            &[400, 501],
            Nothing,
        ),
        (
            "50",
            post("1.1", "transfer-encoding: chunked\r\ncontent-length: 50\r\n"),
            &[400, 501],
            Nothing,
        ),
        (
            "50",
            post("1.1", "content-length: 50\r\ntransfer-encoding: chunked\r\n"),
            &[400, 501],
            Nothing,
        ),
        (
            "53",
            "CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n".to_owned(),
            &[400, 405],
            Nothing,
        ),
        ("54", "GET /public/x HTTP/1.1\r\nhost: a\r\n: empty\r\n\r\n".to_owned(), &[400], Nothing),
        (
            "54",
            "POST /public/x HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n".to_owned(),
            &[400],
            Nothing,
        ),
        (
            "57",
            "GET http://evil/public/a HTTP/1.1\r\nhost: good\r\n\r\n".to_owned(),
            &[400],
            Nothing,
        ),
        (
            "plain",
            "POST /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            &[200],
            Seen(alone),
        ),
    ];
    check(&front, &backend, &rows).await;
}

/// 49 and 52: what follows a request on its connection is the next request, whatever the back end made of the first.
#[tokio::test]
async fn what_follows_a_request_is_the_next_one() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let mut client = front.connect().await;
    client
        .send("GET /public/ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nGET /admin/x HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(
        client.answer().await.unwrap().status,
        200,
        "the back end did not change the protocol"
    );
    assert!(client.answer().await.is_none_or(|answer| answer.status == 401));
    assert!(backend.seen().iter().all(|request| !request.contains("/admin")));

    let mut client = front.connect().await;
    client.send("GET /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: 46\r\n\r\nGET /admin/x HTTP/1.1\r\nhost: a\r\nx-filler: 123\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.send("GET /public/next HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let next = client.answer().await;
    assert!(next.is_none_or(|answer| answer.status == 200 || answer.status == 400));
    let seen = backend.seen();
    assert!(seen.iter().all(|request| !request.starts_with("GET /admin")), "{seen:#?}");
}

/// 62: an answer that two readers would take for different ones does not go on.
#[tokio::test]
async fn answers_that_can_be_read_in_two_ways_do_not_pass() {
    let backend = Backend::answering(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let head = |lines: &str, body: &str| {
            Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}").into_bytes())
        };
        match path.rsplit('/').next().unwrap() {
            "cr" => head("x: a\rSet-Cookie: b=1\r\ncontent-length: 2\r\n", "ok"),
            "lf" => head("x: a\nSet-Cookie: b=1\r\ncontent-length: 2\r\n", "ok"),
            "nul" => head("x: a\0b\r\ncontent-length: 2\r\n", "ok"),
            "two-lengths" => head("content-length: 2\r\ncontent-length: 30\r\n", "okHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
            "both" => head("content-length: 2\r\ntransfer-encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond"),
            "204" => Reply::Bytes(b"HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nsecond".to_vec()),
            "storm" => {
                let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
                bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                Reply::Bytes(bytes)
            }
            "unasked" => Reply::Bytes(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec()),
            "junk" => Reply::Bytes(b"what is HTTP?\r\n\r\n".to_vec()),
            "nothing" => Reply::Close,
            "te" => head("transfer-encoding: chunked, cow\r\n", "2\r\nok\r\n0\r\n\r\n"),
            "gzip" => head("transfer-encoding: gzip, chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
            "extra" => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond".to_vec()),
            _ => ok("hello"),
        }
    })
    .await;
    let front = Serving::start(&guarded(backend.address)).await;
    for (path, statuses) in [
        ("cr", &[502][..]),
        ("lf", &[200, 502]),
        ("nul", &[502]),
        ("two-lengths", &[502]),
        ("both", &[200, 502]),
        ("204", &[204, 502]),
        ("storm", &[200]),
        ("unasked", &[502]),
        ("junk", &[502]),
        ("nothing", &[502]),
        ("te", &[502]),
        ("gzip", &[502]),
        ("extra", &[200]),
    ] {
        let mut client = front.connect().await;
        client.send(get(&format!("/public/{path}"), "")).await;
        let mut early = 0;
        let answer = loop {
            let answer = client.answer().await.unwrap_or_else(|| panic!("{path}: no answer"));
            if answer.status >= 200 {
                break answer;
            }
            early += 1;
        };
        assert!(statuses.contains(&answer.status), "{path}: {answer:?}");
        assert!(early <= 16, "{path}: {early} informational responses");
        if answer.status == 502 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
            assert!(
                !answer.text().contains("127.0.0.1"),
                "the cause stays here: {}",
                answer.text()
            );
        }
        // Whatever the back end sent behind it is nobody's answer.
        next_is_hello(&mut client, path).await;
        next_is_hello(&mut front.connect().await, path).await;
    }
}

async fn next_is_hello(client: &mut Client, path: &str) {
    client.send(get("/public/fine", "")).await;
    let answer = client.answer().await.unwrap_or_else(|| panic!("after {path}: no answer"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "after {path}");
}

/// What a header may not say a trailer may not say either: there are back ends that take the one for the other.
#[tokio::test]
async fn trailers_say_nothing_that_headers_may_not() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let trailers = "x-pc-user: root\r\nX-PC-Roles: admin\r\nx_forwarded_for: 6.6.6.6\r\nx-api-key: user-key\r\ncookie: a=1\r\nhost: evil\r\ncontent-length: 9\r\nauthorization: x\r\nx-sum: 7\r\n";
    let request = format!(
        "POST /api/a HTTP/1.1\r\nhost: a\r\n{KEY}transfer-encoding: chunked\r\ntrailer: x-pc-user, x-sum, x-pc-roles, cookie\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n"
    );
    let answer = front.ask(request).await;
    assert_eq!(answer.status, 200);
    let seen = backend.seen().join("\n").to_ascii_lowercase();
    let (_, body) = seen.split_once("\r\n\r\n").unwrap();
    for forbidden in
        ["root", "admin", "6.6.6.6", "user-key", "a=1", "evil", "content-length", "authorization"]
    {
        assert!(!body.contains(forbidden), "{forbidden} in {body}");
    }
}

/// A key that the program makes, in a file, until it is over.
#[tokio::test]
async fn a_key_that_was_made_opens_until_it_is_over() {
    let made = crate::support::program().args(["key", "--prefix", "shop"]).output().await.unwrap();
    let said = String::from_utf8(made.stdout).unwrap();
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let (key, hash) = (value("key:"), value("hash:"));
    assert!(key.starts_with("shop_") && !key.contains(&hash), "{said}");
    let backend = Backend::hello().await;
    for (expires, status) in [("2999-01-01T00:00:00Z", 200), ("2020-01-01T00:00:00Z", 401)] {
        let front = Serving::start(&format!(
            "[server]\nlisten = [\"http://127.0.0.1:0\"]\n[telemetry]\naccess_log = \"off\"\n\
             [auth.api_key]\nkeys = [{{ id = \"new\", hash = \"{hash}\", expires = \"{expires}\" }}]\n\
             [upstreams.b]\nservers = [\"http://{}\"]\n\
             [[routes]]\nmatch = {{ path = \"/\" }}\naccess = \"authenticated\"\nto = \"b\"\n",
            backend.address
        ))
        .await;
        let ask = format!("GET / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n");
        assert_eq!(front.ask(ask).await.status, status, "{expires}");
    }
}
