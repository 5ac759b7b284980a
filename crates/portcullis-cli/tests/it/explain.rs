//! Explanations, held against what really happens; decisions that are judged again; a candidate that runs beside.
use std::net::SocketAddr;
use std::process::Output;

use http::Request;
use portcullis_config::Gateway;
use portcullis_core::{Body, Connection};
use serde_json::Value;

use crate::matrix::{Dice, hash};
use crate::support::{Backend, Serving, TempFile, guarded, program, within};

/// Owners see what is theirs; nobody who says that they are an administrator sees anything.
const POLICY: &str = r#"
@id("own")
permit(principal, action == Action::"GET", resource)
when { resource.parameters has user && resource.parameters.user == principal.subject };
@id("claims to be an administrator")
forbid(principal, action, resource)
when { context.headers has "x-role" && context.headers["x-role"].contains("admin") };
"#;

fn file(backend: &Backend, policy: &TempFile, more: &str) -> String {
    let key = |id: &str, rest: &str| format!("{{ id = \"{id}\", hash = \"{}\"{rest} }}", hash(id));
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
workers = 1
[telemetry]
access_log = "json"
[upstreams.b]
servers = ["http://{}"]
[auth.api_key]
keys = [{}, {}, {}, {}]
[roles.reader]
permissions = ["books:read"]
[roles.clerk]
inherits = ["reader"]
permissions = ["orders:*", "portcullis:explain"]
[policies.own]
cedar = "{}"
headers = ["x-role"]
{more}
[[routes]]
match = {{ path = "/public/{{*rest}}" }}
access = "public"
to = "b"
[[routes]]
match = {{ path = "/hello" }}
access = "optional"
to = "b"
[[routes]]
match = {{ path = "/books/{{id}}", methods = ["GET"] }}
access = {{ permission = "books:read" }}
to = "b"
[[routes]]
match = {{ path = "/books/{{id}}", methods = ["PUT"] }}
access = {{ permission = "orders:write", scopes = ["books"] }}
to = "b"
[[routes]]
match = {{ path = "/orders/{{*rest}}" }}
access = {{ permission = "orders:write" }}
to = "b"
[[routes]]
match = {{ path = "/vault" }}
access = "authenticated"
step_up = true
to = "b"
[[routes]]
match = {{ path = "/users/{{user}}" }}
access = {{ policy = "own" }}
to = "b"
[[routes]]
match = {{ path = "/{{*rest}}", hosts = ["admin.example.com"] }}
access = {{ permission = "orders:write" }}
to = "b"
"#,
        backend.address,
        key("nina", ""),
        key("rita", ", roles = [\"reader\"]"),
        key("carl", ", roles = [\"clerk\"]"),
        key("cleo", ", roles = [\"clerk\"], scopes = [\"books\"]"),
        policy.0.display(),
    )
}

#[tokio::test]
async fn an_explanation_says_what_really_happens() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let front = Serving::start(&file(&backend, &policy, "")).await;
    let gateway = Gateway::read(front.path()).unwrap();
    let mut dice = Dice::new(7);
    let mut client = front.connect().await;
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..10_000 {
        let method = *dice.of(&["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);
        let path = *dice.of(&[
            "/public/a",
            "/public/../orders/1",
            "/public/%2e%2e/orders/1",
            "/hello",
            "/books/1",
            "/books/1?x=/public/",
            "/books//1",
            "/books/%2f",
            "/books/1;a",
            "/orders",
            "/orders/1",
            "/orders/1/%61",
            "/vault",
            "/users/rita",
            "/users/carl",
            "/users/nobody",
            "/nowhere",
            "/%zz",
            "//orders/1",
            "/ORDERS/1",
        ]);
        let host = *dice.of(&[
            "h",
            "h",
            "admin.example.com",
            "ADMIN.example.com:80",
            "admin.example.com.",
        ]);
        let mut headers = vec![format!("host: {host}")];
        match dice.below(8) {
            0 => {}
            1 => headers.push("x-api-key: nobody-has-this".to_owned()),
            _ => headers.push(format!("x-api-key: {}", dice.of(&["nina", "rita", "carl", "cleo"]))),
        }
        if dice.one_in(4) {
            let role = *dice.of(&["user", "admin", "user, admin", "\"admin\""]);
            headers.push(format!("x-role: {role}"));
        }
        let lines = headers.join("\r\n");
        client
            .send(format!("{method} {path} HTTP/1.1\r\n{lines}\r\ncontent-length: 0\r\n\r\n"))
            .await;
        let real = if method == "HEAD" {
            // It has a length and no body.
            let answer = head(&mut client).await;
            (answer, None)
        } else {
            let answer = client.answer().await.unwrap();
            let problem: Option<Value> = serde_json::from_slice(&answer.body).ok();
            let slug = problem
                .as_ref()
                .and_then(|it| it["type"].as_str())
                .map(|kind| kind.rsplit(['/', '#', ':']).next().unwrap().to_owned());
            (answer.status, slug)
        };
        let mut request = Request::builder().method(method).uri(path);
        for header in &headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let from: SocketAddr = "127.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(Connection::new(Some(from)));
        let said = gateway.explain(request, None).await.unwrap();
        let status = if said.to().is_some() { 200 } else { said.answer().unwrap().as_u16() };
        let what = format!("{method} {path} {headers:?}\n{said}");
        assert_eq!(status, real.0, "{what}");
        if let Some(slug) = &real.1 {
            assert_eq!(said.problem().map(|it| it.kind().slug()), Some(slug.as_str()), "{what}");
        }
        *seen.entry(format!("{status} {}", real.1.unwrap_or_default())).or_default() += 1;
    }
    assert!(seen.len() >= 8, "{seen:?}");
}

/// The status of an answer without a body.
async fn head(client: &mut crate::support::Client) -> u16 {
    use tokio::io::AsyncReadExt;
    within(async {
        loop {
            if let Some(end) = crate::support::find(&client.read, b"\r\n\r\n") {
                let text: Vec<u8> = client.read.drain(..end + 4).collect();
                return String::from_utf8_lossy(&text[9..12]).parse().unwrap();
            }
            let mut bytes = vec![0; 4_096];
            let count = client.stream.read(&mut bytes).await.unwrap();
            client.read.extend_from_slice(&bytes[..count]);
        }
    })
    .await
}

async fn run(words: &[&str], config: &std::path::Path) -> Output {
    within(program().args(words).arg("--config").arg(config).output()).await.unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn a_command_explains_and_prints_the_matrix() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let config = TempFile::new("explain.toml", &file(&backend, &policy, ""));
    for (words, parts) in [
        (
            &["explain", "GET", "/books/1", "--role", "reader"][..],
            &["allow: permission books:read: permission-granted, by role reader", "goes to b"][..],
        ),
        (
            &["explain", "GET", "/books/1", "--subject", "ada"],
            &["deny: permission books:read: permission-missing", "403 permission-denied"],
        ),
        (&["explain", "GET", "/books/1"], &["not-authenticated", "401 authentication-required"]),
        (
            &["explain", "GET", "/books/1", "--header", "x-api-key: rita"],
            &["api-key||rita", "goes to b"],
        ),
        (
            &["explain", "GET", "/books/1", "--header", "x-api-key: nobody"],
            &["401 credentials-invalid"],
        ),
        (
            &["explain", "PUT", "/books/1", "--role", "clerk"],
            &["scope-missing", "403 scope-insufficient"],
        ),
        (&["explain", "PUT", "/books/1", "--role", "clerk", "--scope", "books"], &["goes to b"]),
        (&["explain", "GET", "/vault", "--subject", "ada"], &["step-up", "401 step-up-required"]),
        (&["explain", "GET", "/vault", "--level", "2"], &["goes to b"]),
        (&["explain", "GET", "/users/ada", "--subject", "ada"], &["allow: policy own", "own"]),
        (&["explain", "GET", "/users/bob", "--subject", "ada"], &["deny: policy own"]),
        (
            &[
                "explain",
                "GET",
                "/users/ada",
                "--subject",
                "ada",
                "--header",
                "x-role: user, admin",
            ],
            &["claims to be an administrator"],
        ),
        (&["explain", "GET", "https://admin.example.com/x", "--role", "clerk"], &["goes to b"]),
        (&["explain", "GET", "/public/..%2forders"], &["400 target-invalid"]),
        (&["explain", "GET", "/nowhere", "--role", "clerk"], &["404 route-not-found"]),
        (&["matrix"], &["METHOD", "(nobody)", "clerk", "step-up", "policy"]),
        (&["matrix", "--markdown"], &["| METHOD |", "| --"]),
    ] {
        let output = run(words, &config.0).await;
        let text = said(&output);
        assert!(output.status.success(), "{words:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{words:?} lacks `{part}`:\n{text}");
        }
    }
    for (words, part) in [
        (&["explain", "GET", "orders", "--role", "clerk"][..], "is no path"),
        (&["explain", "GET", "/x", "--header", "x-api-key"], "is no header"),
        (&["explain", "G T", "/x"], "invalid value"),
    ] {
        let output = run(words, &config.0).await;
        assert!(!output.status.success() && said(&output).contains(part), "{}", said(&output));
    }
    let json: Value = serde_json::from_slice(
        &run(&["explain", "--json", "GET", "/books/1", "--role", "reader"], &config.0).await.stdout,
    )
    .unwrap();
    assert_eq!(json["decision"]["verdict"], "allow");
    assert_eq!(json["to"], "b");
}

#[tokio::test]
async fn a_caller_who_may_know_is_told_why_and_nobody_else() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let more = "[authorization]\nexplain = \"portcullis:explain\"\n";
    let front = Serving::start(&file(&backend, &policy, more)).await;
    for (who, path, told) in [
        ("x-api-key: carl\r\n", "/books/1", true),
        ("x-api-key: carl\r\n", "/users/rita", true),
        ("x-api-key: rita\r\n", "/books/1", false),
        ("x-api-key: nobody\r\n", "/books/1", false),
        ("", "/books/1", false),
        ("x-api-key: carl\r\n", "/public/a", false),
    ] {
        let ask = |header: &str| {
            format!("GET {path} HTTP/1.1\r\nhost: h\r\n{who}{header}content-length: 0\r\n\r\n")
        };
        let answer = front.ask(ask("portcullis-explain: ?1\r\n")).await;
        assert_eq!(
            answer.header("portcullis-explain").is_some(),
            told,
            "{who} {path}\n{}",
            answer.head
        );
        if let Some(text) = answer.header("portcullis-explain") {
            assert!(text.contains("authenticate;say=\"api-key||carl\";us="), "{text}");
            assert!(text.contains("authorize;say="), "{text}");
        }
        assert!(front.ask(ask("")).await.header("portcullis-explain").is_none(), "{who} {path}");
    }
    // What asks for it goes to no back end.
    assert!(backend.seen().iter().all(|request| !request.contains("portcullis-explain")));
}

#[tokio::test]
async fn decisions_are_judged_again_by_another_file() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let more = "[authorization.decision_log]\nto = \"log\"\n";
    let text = file(&backend, &policy, more);
    let front = Serving::start(&text).await;
    for (key, path) in [
        ("rita", "/books/1?secret=canary"),
        ("rita", "/orders/1"),
        ("nina", "/books/1"),
        ("carl", "/orders/1"),
        ("rita", "/users/rita"),
    ] {
        front.ask(format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-api-key: {key}\r\n\r\n")).await;
    }
    let line = front.logged(&["\"decided\"", "\"path\":\"/users/rita\""]).await;
    assert!(line.contains("\"verdict\":\"allow\""), "{line}");
    let log = front.log().join("\n");
    let decided: Vec<_> =
        log.lines().filter(|line| line.contains("portcullis::decision")).collect();
    assert_eq!(decided.len(), 5, "{log}");
    assert!(decided.iter().all(|line| !line.contains("canary")), "{decided:?}");
    let kept = TempFile::new("decisions.jsonl", &log);
    let path = kept.0.to_str().unwrap();
    let same = run(&["replay", path], front.path()).await;
    assert!(same.status.success() && said(&same).starts_with("5 the same"), "{}", said(&same));
    let wider = text.replace(
        "[roles.reader]\npermissions = [\"books:read\"]",
        "[roles.reader]\npermissions = [\"books:read\", \"orders:write\"]",
    );
    let wider = TempFile::new("wider.toml", &wider);
    let output = run(&["replay", path], &wider.0).await;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).starts_with(
            "widened: GET /orders/1 by rita (roles reader): allow; before, deny\n4 the same"
        ),
        "{}",
        said(&output)
    );
    assert_eq!(run(&["replay", "--ack", path], &wider.0).await.status.code(), Some(0));
    let narrower = TempFile::new(
        "narrower.toml",
        &text
            .replace("permissions = [\"books:read\"]", "permissions = [\"none:none\", \"x\"]")
            .replace(
                "inherits = [\"reader\"]\npermissions = [\"orders:*\"",
                "permissions = [\"orders:*\", \"books:read\"",
            ),
    );
    let output = run(&["replay", path], &narrower.0).await;
    assert!(
        output.status.success() && said(&output).contains("narrowed: GET /books/1 by rita"),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn a_candidate_is_told_of_and_changes_nothing() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let candidate = TempFile::new(
        "candidate.toml",
        &format!(
            "[roles.reader]\npermissions = [\"orders:write\"]\n[roles.clerk]\npermissions = [\"orders:*\", \"books:read\"]\n[policies.own]\ncedar = \"{}\"\n",
            policy.0.display()
        ),
    );
    let more = format!("[authorization]\nshadow = \"{}\"\n", candidate.0.display());
    let text = file(&backend, &policy, &more)
        .replace("workers = 1", "workers = 1\nobserve = \"127.0.0.1:0\"");
    let front = Serving::start(&text).await;
    for (key, path, status) in
        [("rita", "/books/1", 200), ("rita", "/orders/1", 403), ("carl", "/books/1", 200)]
    {
        let answer =
            front.ask(format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-api-key: {key}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{key} {path}");
    }
    front.logged(&["portcullis::shadow", "\"live\":\"allow\"", "\"candidate\":\"deny\""]).await;
    front.logged(&["portcullis::shadow", "\"live\":\"deny\"", "\"candidate\":\"allow\""]).await;
    assert_eq!(front.log().iter().filter(|line| line.contains("portcullis::shadow")).count(), 2);
    // What is wrong with the candidate is told by its own name.
    let wrong = TempFile::new("wrong.toml", "[roles.reader]\npermisions = [\"x\"]\n");
    let config = TempFile::new(
        "shadow.toml",
        &file(&backend, &policy, &format!("[authorization]\nshadow = \"{}\"\n", wrong.0.display())),
    );
    let output = run(&["check"], &config.0).await;
    assert!(
        !output.status.success()
            && said(&output).contains("wrong.toml:2")
            && said(&output).contains("did you mean `permissions`?"),
        "{}",
        said(&output)
    );
}

/// A rule at the front and a rule at the route both count: a limit at a route takes nothing away from who may call it.
#[tokio::test]
async fn a_limit_at_a_route_takes_no_access_away() {
    let backend = Backend::hello().await;
    let text = guarded(backend.address).replace(
        "to = \"b\"\n[[routes]]\nmatch = { path = \"/admin/",
        "limits = [\"few\"]\nto = \"b\"\n[[routes]]\nmatch = { path = \"/admin/",
    );
    let front = Serving::start(&(text + "[limits.few]\nrate = \"1000/s\"\n")).await;
    assert_eq!(front.ask("GET /api/me HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 401);
    assert_eq!(
        front.ask("GET /api/me HTTP/1.1\r\nhost: h\r\nx-api-key: user-key\r\n\r\n").await.status,
        200
    );
    // And one that says nothing of access does not start.
    let silent = TempFile::new(
        "silent.toml",
        &guarded(backend.address).replace("access = \"authenticated\"\n", "limits = []\n"),
    );
    let output = run(&["check"], &silent.0).await;
    assert!(
        !output.status.success() && said(&output).contains("`access` is missing"),
        "{}",
        said(&output)
    );
}

/// Cases 12 and 13: a policy sees every value of a header, however it is written, and is asked whatever stands there.
#[tokio::test]
async fn a_policy_sees_every_value_of_a_header() {
    let (backend, policy) = (Backend::hello().await, TempFile::new("own.cedar", POLICY));
    let front = Serving::start(&file(&backend, &policy, "")).await;
    let rows: [(&[u8], u16); 10] = [
        (b"", 200),
        (b"x-role: user\r\n", 200),
        (b"x-role: admin\r\n", 403),
        (b"X-ROLE: user, admin\r\n", 403),
        (b"x-role: user\r\nx-role: admin\r\n", 403),
        (b"x-role: admin\r\nx-role: user\r\n", 403),
        (b"x-role: \"admin\"\r\n", 403),
        (b"x-role: user,\"ad\\min\"\r\n", 403),
        (b"x-role: \xff\xfe, admin\r\n", 403),
        (b"x-role: \xff\xfe\r\n", 200),
    ];
    for (lines, status) in rows {
        let ask = |path: &str| {
            let mut request =
                format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-api-key: rita\r\n").into_bytes();
            request.extend_from_slice(lines);
            request.extend_from_slice(b"\r\n");
            request
        };
        let what = String::from_utf8_lossy(lines).into_owned();
        assert_eq!(front.ask(ask("/users/rita")).await.status, status, "{what}");
        // Whatever it says, it is asked.
        assert_eq!(front.ask(ask("/users/carl")).await.status, 403, "{what}");
    }
}
