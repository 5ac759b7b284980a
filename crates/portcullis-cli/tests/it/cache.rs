//! `[cache]` through the program: what is asked for once, for whom, and until when.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::limit_stores::Redis;
use crate::reload::{Gateway, differs};
use crate::support::{
    ADMIN_HASH, Answer, Backend, Reply, Serving, TempFile, USER_HASH, header, headers, program,
    within,
};

/// Keys of a reader, and of one who may purge.
const KEYS: [(&str, &str, &str); 2] = [("uma", USER_HASH, "user"), ("ada", ADMIN_HASH, "admin")];

/// Answers `PATH for CALLER, NUMBER`, good for a minute: below `/shared` for everybody, below `/bare` without a word about it, and elsewhere as a cache may
/// keep it. Its tags are the segments of the path.
async fn backend() -> Backend {
    let count = Arc::new(AtomicUsize::new(0));
    Backend::answering(move |request| {
        let number = count.fetch_add(1, SeqCst);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let caller = header(request, "x-pc-user").unwrap_or("nobody");
        let control = match path {
            _ if path.starts_with("/bare") => "x-nothing: 1",
            _ if path.starts_with("/shared") => "cache-control: public, max-age=60",
            _ if path.starts_with("/targeted") => {
                "cache-control: no-store\r\nshop-cache-control: max-age=60"
            }
            _ => "cache-control: max-age=60",
        };
        let tags = path.trim_start_matches('/').replace('/', " ");
        let body = format!("{path} for {caller}, {number}");
        Reply::Bytes(
            format!(
                "HTTP/1.1 200 OK\r\n{control}\r\netag: \"{number}\"\r\nsurrogate-key: {tags}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    })
    .await
}

pub(crate) fn upstream(address: SocketAddr) -> String {
    format!(
        "[upstreams.b]\nservers = [\"http://{address}\"]\nidentity = {{ subject = \"x-pc-user\" }}\n"
    )
}

fn keys() -> String {
    let keys = KEYS.map(|(id, hash, role)| {
        format!("{{ id = \"{id}\", hash = \"{hash}\", roles = [\"{role}\"], tenant = \"shop\" }}")
    });
    format!(
        "[auth.api_key]\nkeys = [{}]\n[roles.user]\n[roles.admin]\npermissions = [\"cache:purge\"]\n",
        keys.join(", ")
    )
}

pub(crate) fn route(path: &str, access: &str, cache: &str) -> String {
    format!(
        "[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\nto = \"b\"\ncache = {cache}\n"
    )
}

pub(crate) const HEAD: &str =
    "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\n[telemetry]\naccess_log = \"off\"\n";

async fn ask(gateway: &Serving, method: &str, path: &str, more: &str) -> Answer {
    gateway.ask_settled(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n")).await
}

fn key(name: &str) -> String {
    let key = if name == "ada" { "admin" } else { "user" };
    if name.is_empty() { String::new() } else { format!("x-api-key: {key}-key\r\n") }
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

pub(crate) fn is_hit(answer: &Answer) -> bool {
    status(answer).contains("; hit")
}

/// Asks until what was asked for is stored, which may come a little after its answer.
pub(crate) async fn until_hit(gateway: &Serving, path: &str, more: &str) -> Answer {
    within(async {
        loop {
            let answer = ask(gateway, "GET", path, more).await;
            assert_eq!(answer.status, 200, "{}", answer.head);
            if is_hit(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_is_fresh_is_asked_for_once_whatever_the_gateway_says_besides() {
    let limits = "[limits.few]\nrate = \"100/s\"\neverywhere = true\n";
    // All that is public has a stack of its own.
    for more in ["", limits, "[overload]\nlimit = 10\n", &keys()] {
        let backend = backend().await;
        let routes = format!("{}{}", route("/{*rest}", "\"public\"", "true"), more);
        let gateway = Serving::start(&format!("{HEAD}{}{routes}", upstream(backend.address))).await;
        let first = ask(&gateway, "GET", "/books/1", "").await;
        assert_eq!(first.status, 200, "{}", first.head);
        assert!(status(&first).starts_with("portcullis; fwd=uri-miss"), "{}", first.head);
        // Whichever worker has it.
        for _ in 0..8 {
            let again = ask(&gateway, "GET", "/books/1", "").await;
            assert!(status(&again).starts_with("portcullis; hit; ttl="), "{more}: {}", again.head);
            assert_eq!(again.text(), first.text());
            assert!(again.header("age").is_some() && again.header("surrogate-key").is_none());
        }
        let known = format!("if-none-match: {}\r\n", first.header("etag").unwrap());
        assert_eq!(ask(&gateway, "GET", "/books/1", &known).await.status, 304);
        assert_eq!(backend.seen().len(), 1, "{more}");
        // Another URL, and a host of another name.
        assert!(!is_hit(&ask(&gateway, "GET", "/books/1?a", "").await));
        let other = gateway.ask("GET /books/1 HTTP/1.1\r\nhost: b\r\n\r\n").await;
        assert!(!is_hit(&other));
    }
}

#[tokio::test]
async fn what_the_file_says_of_the_cache_is_what_it_does() {
    let backend = backend().await;
    let start = async |cache: &str, of_route: &str| {
        let routes = route("/{*rest}", "\"public\"", of_route);
        Serving::start(&format!("{HEAD}{cache}{}{routes}", upstream(backend.address))).await
    };
    let hits = async |gateway: &Serving, path: &str, more: &str, want: bool| {
        ask(gateway, "GET", path, more).await;
        if want {
            until_hit(gateway, path, more).await;
        }
        is_hit(&ask(gateway, "GET", path, more).await)
    };
    // What `[cache]` says, and the route; what is asked for, with which fields; and whether the second is answered from what is kept.
    for (cache, of_route, path, more, want) in [
        ("", "true", "/a", "", true),
        ("", "false", "/a", "", false),
        ("", "{}", "/a", "", true),
        ("", "true", "/bare", "", false),
        ("", "{ default_ttl = \"60s\" }", "/bare", "", true),
        ("", "true", "/targeted", "", false),
        ("[cache]\ntargeted = [\"shop-cache-control\"]\n", "true", "/targeted", "", true),
        ("[cache]\nlargest = 8\n", "true", "/a/long/path", "", false),
        ("[cache]\ncapacity = \"1MiB\"\nstore = \"memory\"\n", "true", "/a", "", true),
        // Somebody's, and nobody says that it is for everybody.
        ("", "true", "/a", "cookie: a=b\r\n", false),
        ("", "true", "/shared", "cookie: a=b\r\n", true),
        ("[cache]\npreset = \"rfc\"\n", "true", "/a", "cookie: a=b\r\n", true),
    ] {
        let gateway = start(cache, of_route).await;
        let said = hits(&gateway, path, more, want).await;
        assert_eq!(said, want, "{cache}, {of_route}, {path}, {more}");
    }
    let gateway = start("[cache]\nname = \"edge\"\nhide_tags = false\n", "true").await;
    assert!(hits(&gateway, "/a/b", "", true).await);
    let answer = ask(&gateway, "GET", "/a/b", "").await;
    assert!(status(&answer).starts_with("edge; hit"), "{}", answer.head);
    assert_eq!(answer.header("surrogate-key"), Some("a b"));
    let gateway = start("[cache]\npreset = \"rfc\"\n", "true").await;
    assert_eq!(ask(&gateway, "GET", "/a", "").await.header("surrogate-key"), Some("a"));
    // Whoever takes only what is stored.
    let only = "cache-control: only-if-cached\r\n";
    let refused = ask(&gateway, "GET", "/other", only).await;
    assert_eq!(refused.status, 504);
    assert!(refused.text().contains("not-cached"), "{}", refused.text());
    assert_eq!(ask(&gateway, "GET", "/a", only).await.status, 200);
}

#[tokio::test]
async fn callers_never_see_what_is_kept_for_others() {
    let backend = backend().await;
    let routes = [
        route("/own/{*rest}", "\"authenticated\"", "true"),
        route("/shared/{*rest}", "\"authenticated\"", "true"),
        route("/maybe/{*rest}", "\"optional\"", "true"),
    ];
    let text = format!("{HEAD}{}{}{}", upstream(backend.address), keys(), routes.concat());
    let gateway = Serving::start(&text).await;
    for path in ["/own/1", "/maybe/1"] {
        for who in ["uma", "ada"] {
            // As often as it likes, and between each other.
            for _ in 0..4 {
                let answer = until_hit(&gateway, path, &key(who)).await;
                assert!(
                    answer.text().starts_with(&format!("{path} for {who}, ")),
                    "{}",
                    answer.text()
                );
            }
        }
        let uma = until_hit(&gateway, path, &key("uma")).await;
        assert!(uma.text().contains("for uma"), "{}", uma.text());
        assert_eq!(backend.seen().len(), 2, "{path}");
    }
    // Nobody is no caller, and gets what nobody gets.
    let nobody = ask(&gateway, "GET", "/maybe/1", "").await;
    assert!(nobody.text().contains("for nobody"), "{}", nobody.text());
    assert_eq!(ask(&gateway, "GET", "/own/1", "").await.status, 401);
    // Whoever may not call gets nothing of what is kept for everybody.
    let first = until_hit(&gateway, "/shared/1", &key("uma")).await;
    assert_eq!(ask(&gateway, "GET", "/shared/1", &key("ada")).await.text(), first.text());
    assert_eq!(ask(&gateway, "GET", "/shared/1", "").await.status, 401);
}

#[tokio::test]
async fn operators_purge_and_are_told_what_they_said_wrong() {
    let backend = backend().await;
    let text = format!("{}{}", upstream(backend.address), route("/{*rest}", "\"public\"", "true"));
    let gateway = Gateway::start(&text).await;
    let serving = &gateway.serving;
    for (body, is_gone) in [
        (r#"{"url": "http://a/books/1"}"#, true),
        (r#"{"url": "HTTP://A:80/books/./1"}"#, true),
        (r#"{"url": "http://a/books"}"#, false),
        (r#"{"url": "https://a/books/1"}"#, false),
        (r#"{"prefix": "http://a/boo"}"#, true),
        (r#"{"prefix": "http://a/c"}"#, false),
        (r#"{"tag": "books"}"#, true),
        (r#"{"tag": "book"}"#, false),
        (r#"{"tag": "books", "soft": true}"#, true),
        (r#"{"group": {"origin": "http://a", "name": "books"}}"#, false),
        (r#"{"everything": true}"#, true),
    ] {
        until_hit(serving, "/books/1", "").await;
        let (status, said) = gateway.tell("purge", body).await;
        assert_eq!((status, said.as_str()), (200, "purged\n"), "{body}");
        assert_eq!(!is_hit(&ask(serving, "GET", "/books/1", "").await), is_gone, "{body}");
    }
    for (body, wrong) in [
        ("", "it is no JSON"),
        ("{\"tags\": 1}", "there is no `tags`"),
        ("{\"url\": \"/books/1\"}", "is no whole URL"),
    ] {
        let (status, said) = gateway.tell("purge", body).await;
        assert_eq!(status, 400, "{body}: {said}");
        assert!(said.contains(wrong), "{body}: {said}");
    }
    gateway.write(&text.replace("cache = true", "cache = false"));
    assert_eq!(gateway.command("reload").await.0, 200);
    let (status, said) = gateway.tell("purge", "{\"tag\": \"books\"}").await;
    assert_eq!(status, 409);
    assert!(said.contains("nothing is cached"), "{said}");
}

#[tokio::test]
async fn who_may_purges_by_a_request_and_nobody_else() {
    let backend = backend().await;
    let purges = "[[routes]]\nmatch = { path = \"/{*rest}\", methods = [\"PURGE\"] }\naccess = { permission = \"cache:purge\" }\nto = \"b\"\ncache = { purge = true }\n";
    let reads = route("/{*rest}", "\"public\"", "true")
        .replace("/{*rest}\" }", "/{*rest}\", methods = [\"GET\"] }");
    let text = format!("{HEAD}{}{}{purges}{reads}", upstream(backend.address), keys());
    let gateway = Serving::start(&text).await;
    for (who, want) in [("", 401), ("uma", 403), ("ada", 204)] {
        let kept = until_hit(&gateway, "/books/1", "").await;
        backend.seen();
        let answer = ask(&gateway, "PURGE", "/books/1", &key(who)).await;
        assert_eq!(answer.status, want, "{who}: {}", answer.head);
        assert!(backend.seen().is_empty(), "the server is not asked");
        let is_there = ask(&gateway, "GET", "/books/1", "").await.text() == kept.text();
        assert_eq!(is_there, want != 204, "{who}");
    }
}

#[tokio::test]
async fn what_is_kept_survives_a_reload_that_keeps_the_rules() {
    let backend = backend().await;
    let text = |cache: &str, timeout: u32| {
        format!(
            "{cache}{}timeout = \"{timeout}s\"\n{}",
            upstream(backend.address),
            route("/{*rest}", "\"public\"", "true")
        )
    };
    let gateway = Gateway::start(&text("", 1)).await;
    for (cache, command, is_there) in [
        ("", "reload", true),
        ("[cache]\ncapacity = \"64MiB\"\n", "reload", true),
        ("[cache]\nname = \"edge\"\n", "reload", true),
        ("[cache]\nbackground = 1\n", "reload", true),
        ("[cache]\ntargeted = []\n", "reload", false),
        ("[cache]\ncapacity = \"1MiB\"\n", "reload", false),
        ("[cache]\npreset = \"rfc\"\n", "reload-and-widen", false),
        ("", "reload", false),
    ] {
        let kept = until_hit(&gateway.serving, "/a", "").await;
        gateway.write(&text(cache, 2));
        let (status, said) = gateway.command(command).await;
        assert_eq!(status, 200, "{cache}: {said}");
        let now = ask(&gateway.serving, "GET", "/a", "").await;
        assert_eq!(now.text() == kept.text(), is_there, "{cache}: {}", now.head);
        let name = if cache.contains("edge") { "edge; hit" } else { "portcullis; " };
        assert!(status_of(&now).starts_with(name), "{cache}: {}", now.head);
    }
    gateway.write(&text("[cache]\npreset = \"rfc\"\n", 2));
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(
        said.contains("cache.preset: answers for callers who are known may be shared"),
        "{said}"
    );
}

fn status_of(answer: &Answer) -> &str {
    status(answer)
}

#[tokio::test]
async fn more_who_share_is_more_access() {
    let file = |preset: &str, access: &str, cache: &str| {
        format!(
            "{HEAD}[cache]\npreset = \"{preset}\"\n{}{}{}",
            upstream(([127, 0, 0, 1], 1).into()),
            keys(),
            route("/a", access, cache)
        )
    };
    let known = "\"authenticated\"";
    let may_purge = "{ permission = \"cache:purge\" }";
    let purges = |cache: &str| {
        let methods = "path = \"/a\", methods = [\"GET\", \"PURGE\"]";
        file("application", may_purge, cache).replace("path = \"/a\"", methods)
    };
    for (old, new, code, wanted) in [
        (
            file("application", known, "true"),
            file("application", known, "{ scope = \"tenant\" }"),
            2,
            "widened: /a: answers are kept for tenant; before, for identity",
        ),
        (
            file("application", known, "false"),
            file("application", known, "{ scope = \"tenant\" }"),
            2,
            "widened: /a: answers are kept for tenant; before, for nobody",
        ),
        (
            file("application", known, "{ scope = \"tenant\" }"),
            file("application", known, "true"),
            0,
            "narrowed: /a: answers are kept for identity; before, for tenant",
        ),
        (file("application", known, "false"), file("application", known, "true"), 0, "changed: "),
        (
            file("application", "\"public\"", "false"),
            file("application", "\"public\"", "{ default_ttl = \"1m\" }"),
            0,
            "changed: ",
        ),
        (
            file("application", known, "true"),
            file("application", "\"public\"", "true"),
            2,
            "widened: /a: answers are kept for public; before, for identity",
        ),
        (
            file("application", known, "true"),
            file("rfc", known, "true"),
            2,
            "widened: cache.preset: ",
        ),
        (
            file("rfc", known, "true"),
            file("application", known, "true"),
            0,
            "narrowed: cache.preset: ",
        ),
        (
            purges("true"),
            purges("{ purge = true }"),
            2,
            "widened: /a: whoever may call it may purge",
        ),
    ] {
        differs(&old, &new, code, &[wanted]).await;
    }
}

#[tokio::test]
async fn it_is_told_what_is_cached_and_how_often() {
    let backend = backend().await;
    // Somebody else may take it before the gateway does, and is not likely to.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let observe = free.local_addr().unwrap();
    drop(free);
    let head = HEAD.replace("workers = 2", &format!("workers = 1\nobserve = \"{observe}\""));
    let routes = [
        route("/a/{*rest}", "\"public\"", "{ default_ttl = \"60s\" }"),
        route(
            "/b/{*rest}",
            "{ permission = \"cache:purge\" }",
            "{ scope = \"tenant\", purge = true }",
        ),
        route("/c/{*rest}", "\"authenticated\"", "true"),
    ];
    let routes =
        routes.concat().replace("/b/{*rest}\"", "/b/{*rest}\", methods = [\"GET\", \"PURGE\"]");
    let text = format!("{head}{}{}{routes}", upstream(backend.address), keys());
    let gateway = Serving::start(&text).await;
    ask(&gateway, "GET", "/a/1", "").await;
    ask(&gateway, "GET", "/a/1", "").await;
    let mut client = crate::support::Client {
        stream: tokio::net::TcpStream::connect(observe).await.unwrap(),
        read: Vec::new(),
    };
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let said = client.answer().await.unwrap().text();
    for line in [
        "portcullis_cache_events_total{event=\"hit\"} 1",
        "portcullis_cache_forwarded_total{reason=\"uri-miss\"} 1",
        "portcullis_cache_memory_entries 1",
        "portcullis_cache_evictions_total 0",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let file = TempFile::new("cache.toml", &text);
    let print = async |arguments: &[&str]| {
        let done = program().args(arguments).arg("--config").arg(&file.0).output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let table = print(&["routes"]).await;
    for words in ["cache: public 60s", "cache: tenant purges", "cache: identity"] {
        assert!(table.contains(words), "{words} in {table}");
    }
    for (asked, words) in [
        (&["GET", "/a/1"][..], "looked for in what is kept for everybody; good for 60s where"),
        (&["HEAD", "/c/1", "--role", "user"], "looked for in what is kept for this caller, and"),
        (&["GET", "/b/1", "--role", "admin"], "not looked for: the caller has no tenant"),
        (&["GET", "/b/1", "--role", "admin", "--tenant", "a"], "for callers of this tenant"),
        (&["PURGE", "/b/1", "--role", "admin"], "takes out what is kept of this URL"),
        (&["PUT", "/a/1"], "since it is a PUT; what is kept of this URL goes if that succeeds"),
        (&["GET", "/a/1", "--header", "cache-control: no-store"], "says `no-store`"),
    ] {
        let said = print(&[&["explain"], asked].concat()).await;
        let line = said.lines().find(|line| line.starts_with("cache "));
        assert!(line.is_some_and(|line| line.contains(words)), "{asked:?}: {said}");
    }
    let refused = print(&["explain", "GET", "/c/1"]).await;
    assert!(!refused.contains("\ncache "), "{refused}");
}

#[tokio::test]
async fn gateways_share_what_is_in_redis_and_go_on_without_it() {
    let Some(mut redis) = Redis::start().await else { return };
    let backend = backend().await;
    for store in ["\"shared\"", "[\"memory\", \"shared\"]"] {
        let text = format!(
            "{}[cache]\nstore = {store}\ncompress = true\n{}{}",
            redis.config(),
            upstream(backend.address),
            route("/{*rest}", "\"public\"", "true")
        );
        let (one, other) = (Gateway::start(&text).await, Gateway::start(&text).await);
        let first = until_hit(&one.serving, "/books/1", "").await;
        let second = ask(&other.serving, "GET", "/books/1", "").await;
        assert!(is_hit(&second), "{store}: {}", second.head);
        assert_eq!(second.text(), first.text());
        let (status, said) = one.tell("purge", "{\"tag\": \"books\"}").await;
        assert_eq!(status, 200, "{said}");
        // Within a second, in the other gateway.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_ne!(ask(&other.serving, "GET", "/books/1", "").await.text(), first.text());
        redis.kill().await;
        for gateway in [&one, &other] {
            let answer = ask(&gateway.serving, "GET", "/books/2", "").await;
            assert_eq!(answer.status, 200, "{store}: {}", answer.head);
            assert_eq!(headers(&answer.head, "cache-status").len(), 1, "{}", answer.head);
        }
        let (status, said) = one.tell("purge", "{\"tag\": \"books\"}").await;
        assert_eq!(status, 409, "{said}");
        // One that begins without it serves all the same.
        let late = Gateway::start(&text).await;
        assert_eq!(ask(&late.serving, "GET", "/books/3", "").await.status, 200);
        redis.start_again().await;
        until_hit(&late.serving, "/books/3", "").await;
    }
}
