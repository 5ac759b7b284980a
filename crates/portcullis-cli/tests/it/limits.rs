//! `[limits]` through the program: who is let through, how often, and what answers say about it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::matrix::hash;
use crate::reload::Gateway;
use crate::support::{Answer, Backend, Client, Reply, Serving, headers, ok, within};

/// Keys without a plan, of plan `pro` and of plan `internal`; `/known` asks for one, and `/{*rest}` does not.
fn file(backend: SocketAddr, limits: &str, named: &str) -> String {
    let key = |id: &str, more: &str| {
        format!("{{ id = \"{id}\", hash = \"{}\", {more} }}", hash(&format!("{id}-key")))
    };
    let keys = [
        key("uma", "roles = [\"user\"]"),
        key("pia", "plan = \"pro\""),
        key("ina", "plan = \"internal\", roles = [\"staff\"]"),
    ];
    format!(
        r#"{limits}
[upstreams.b]
servers = ["http://{backend}"]
[auth.api_key]
keys = [{}]
[roles.user]
[roles.staff]
[[routes]]
match = {{ path = "/known" }}
access = "authenticated"
to = "b"
limits = [{named}]
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "public"
to = "b"
limits = [{named}]
"#,
        keys.join(", ")
    )
}

const HEAD: &str = "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\n";
const QUIET: &str = "[telemetry]\naccess_log = \"off\"\n";

/// Serves a limit of this name, which both routes name.
async fn serve(backend: &Backend, server: &str, limit: &str) -> Serving {
    let limits = format!("{HEAD}{server}{QUIET}[limits.few]\n{limit}");
    let named = if limit.contains("everywhere = true") { "" } else { "\"few\"" };
    Serving::start(&file(backend.address, &limits, named)).await
}

async fn get(client: &mut Client, path: &str, more: &str) -> Answer {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n")).await;
    client.answer().await.expect("an answer")
}

fn with_key(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("x-api-key: {name}-key\r\n") }
}

/// How many of so many requests get through, one after the other on one connection.
async fn admitted(gateway: &Serving, path: &str, more: &str, requests: usize) -> usize {
    let mut client = gateway.connect().await;
    let mut count = 0;
    for _ in 0..requests {
        let answer = get(&mut client, path, more).await;
        assert!([200, 429].contains(&answer.status), "{}", answer.head);
        count += usize::from(answer.status == 200);
    }
    count
}

#[tokio::test]
async fn each_limit_lets_through_what_it_says() {
    let backend = Backend::answering(|_| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nx-tokens: 4\r\ncontent-length: 5\r\n\r\nhello".to_vec())
    })
    .await;
    // The limit, whose key is sent, how many are sent, and how many of them get through.
    for (limit, key, sent, want) in [
        ("rate = \"2/h\"", "", 4, 2),
        ("rate = \"2/h\"\nburst = 3", "", 5, 3),
        ("rate = [\"5/h\", \"3/d\"]", "", 5, 3),
        ("rate = [\"5/h\", \"9/d\"]\nburst = [2, 9]", "", 4, 2),
        ("rate = \"6/h\"\ncost = 2", "", 5, 3),
        // Of what the answer says, the first ones are known when the next comes.
        ("rate = \"10/h\"\ncost = { header = \"x-tokens\" }", "", 5, 3),
        ("rate = \"10B/h\"\ncount = \"bytes\"", "", 4, 2),
        ("rate = \"2/h\"\nexempt = [\"10.0.0.0/8\"]", "", 4, 2),
        ("rate = \"2/h\"\nexempt = [\"10.0.0.0/8\", \"127.0.0.1\"]", "", 4, 4),
        ("rate = \"2/h\"\nshadow = true", "", 4, 4),
        // It waits for a tenth of a second, and not for two.
        ("rate = \"10/s\"\nburst = 1\nwait = \"5s\"", "", 4, 4),
        ("rate = \"2/h\"\neverywhere = true", "", 4, 2),
        ("rate = \"2/h\"\nkey = \"everyone\"", "uma", 4, 2),
        ("rate = \"2/h\"\nkey = [\"identity\", \"route\"]", "uma", 4, 2),
        ("rate = \"2/h\"\nkey = \"identity\"\neverywhere = true", "uma", 4, 2),
        ("rate = \"2/h\"\nkey = \"identity\"\nplans = { pro = \"5/h\" }", "uma", 7, 2),
        ("rate = \"2/h\"\nkey = \"identity\"\nplans = { pro = \"5/h\" }", "pia", 7, 5),
        (
            "rate = \"2/h\"\nkey = \"key\"\nplans = { pro = { rate = [\"9/h\", \"9/d\"], burst = [4, 9] } }",
            "pia",
            7,
            4,
        ),
        (
            "rate = \"2/h\"\nkey = \"identity\"\nplans = { pro = \"5/h\", internal = \"unlimited\" }",
            "ina",
            7,
            7,
        ),
        ("rate = \"2/h\"\nexempt_roles = [\"staff\"]", "uma", 4, 2),
        ("rate = \"2/h\"\nexempt_roles = [\"staff\"]", "ina", 4, 4),
    ] {
        let gateway = serve(&backend, "", limit).await;
        backend.seen();
        let path = if key.is_empty() { "/" } else { "/known" };
        assert_eq!(admitted(&gateway, path, &with_key(key), sent).await, want, "{limit}, {key}");
        assert_eq!(backend.seen().len(), want, "{limit}: what is refused asks no server");
    }
}

#[tokio::test]
async fn callers_have_counts_of_their_own_and_headers_where_a_limit_goes_by_them() {
    let backend = Backend::hello().await;
    let gateway = serve(&backend, "", "rate = \"2/h\"\nkey = \"identity\"").await;
    for key in ["uma", "pia"] {
        assert_eq!(admitted(&gateway, "/known", &with_key(key), 3).await, 2, "{key}");
    }
    let gateway = serve(&backend, "", "rate = \"2/h\"\nkey = \"header:x-shop\"").await;
    for more in ["x-shop: a\r\n", "x-shop: b\r\n", ""] {
        assert_eq!(admitted(&gateway, "/", more, 3).await, 2, "{more}");
    }
    assert_eq!(admitted(&gateway, "/x", "x-shop: a\r\n", 1).await, 0, "on every route");
}

#[tokio::test]
async fn guessing_is_limited_and_nothing_else() {
    let backend = Backend::hello().await;
    for everywhere in ["", "\neverywhere = true"] {
        let limit = format!("rate = \"2/h\"\ncount = \"refusals\"{everywhere}");
        let gateway = serve(&backend, "", &limit).await;
        assert_eq!(admitted(&gateway, "/known", &with_key("uma"), 5).await, 5);
        let mut client = gateway.connect().await;
        for want in [401, 401, 429] {
            let answer = get(&mut client, "/known", &with_key("eve")).await;
            assert_eq!(answer.status, want, "{everywhere}");
        }
        // With whatever they ask from then on.
        assert_eq!(get(&mut client, "/known", &with_key("uma")).await.status, 429);
    }
}

#[tokio::test]
async fn so_many_are_under_way_at_once_until_their_answers_are_over() {
    let backend = Backend::answering(|request| {
        if request.starts_with("GET /slow ") { Reply::Never } else { ok("hello") }
    })
    .await;
    let gateway = serve(&backend, "", "at_once = 2").await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect().await;
        client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
        slow.push(client);
    }
    let mut client = gateway.connect().await;
    // Both are under way.
    let mut seen = 0;
    within(async {
        while seen < 2 {
            seen += backend.seen().len();
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let refused = get(&mut client, "/", "").await;
    assert_eq!(refused.status, 429);
    let fields = fields(&refused, "ratelimit-policy");
    assert_eq!(fields["few"]["qu"], "\"concurrent-requests\"");
    slow.pop();
    within(async { while get(&mut client, "/", "").await.status != 200 {} }).await;
}

/// A list of a structured field: the items, which are strings, and their parameters.
fn fields(answer: &Answer, name: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let lines = headers(&answer.head, name);
    let items = lines.iter().flat_map(|line| line.split(", "));
    let one = |item: &str| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "?1")));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        (name.expect("a string").to_owned(), pairs.collect())
    };
    items.map(one).collect()
}

#[tokio::test]
async fn answers_say_what_is_left_and_when_to_come_back() {
    let backend = Backend::hello().await;
    let limit = "rate = [\"2/h\", \"9/d\"]";
    let gateway = serve(&backend, "", limit).await;
    let mut client = gateway.connect().await;
    for (status, left) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = get(&mut client, "/", "").await;
        assert_eq!(answer.status, status);
        let policy = fields(&answer, "ratelimit-policy");
        for (name, quota, window) in [("few", "2", "3600"), ("few.2", "9", "86400")] {
            assert_eq!(policy[name]["q"], quota, "{}", answer.head);
            assert_eq!(policy[name]["w"], window, "{}", answer.head);
        }
        let items = fields(&answer, "ratelimit");
        assert_eq!(items["few"]["r"], left, "{}", answer.head);
        let reset: u64 = items["few"]["t"].parse().unwrap();
        assert!((1..=3_600).contains(&reset), "{}", answer.head);
        let retry = answer.header("retry-after").map(|retry| retry.parse::<u64>().unwrap());
        assert_eq!(retry.is_some(), status == 429);
        assert!(retry.is_none_or(|retry| (1..=1_800).contains(&retry)), "{}", answer.head);
        assert_eq!(answer.header("x-ratelimit-limit"), None);
        if status == 429 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(answer.text().contains("quota-exceeded"), "{}", answer.text());
        }
    }
    let gateway = serve(&backend, "limit_fields = \"legacy\"\n", limit).await;
    let mut client = gateway.connect().await;
    for left in ["1", "0", "0"] {
        let answer = get(&mut client, "/", "").await;
        assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
        assert!(
            answer.header("x-ratelimit-reset").is_some() && answer.header("ratelimit").is_some()
        );
    }
    let gateway = serve(&backend, "limit_fields = \"off\"\n", limit).await;
    let mut client = gateway.connect().await;
    for status in [200, 200, 429] {
        let answer = get(&mut client, "/", "").await;
        assert_eq!(answer.status, status);
        for name in ["ratelimit", "ratelimit-policy", "x-ratelimit-limit"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
}

/// R16: however a request is written, it counts for the address that it comes from.
#[tokio::test]
async fn no_spelling_of_a_request_is_another_client() {
    let backend = Backend::hello().await;
    for more in ["", "\neverywhere = true"] {
        let gateway = serve(&backend, "", &format!("rate = \"3/h\"{more}")).await;
        assert_eq!(admitted(&gateway, "/", "", 4).await, 3);
        backend.seen();
        let mut client = gateway.connect().await;
        for at in 0..50 {
            for name in ["x-forwarded-for", "x-real-ip", "true-client-ip", "cf-connecting-ip"] {
                let answer = get(&mut client, "/", &format!("{name}: 203.0.113.{at}\r\n")).await;
                assert_eq!(answer.status, 429, "{name}");
            }
            let forwarded = format!("forwarded: for=203.0.113.{at}\r\n");
            assert_eq!(get(&mut client, "/", &forwarded).await.status, 429);
        }
        for (method, path, host) in [
            ("GET", "/", "b.example"),
            ("GET", "/", "A"),
            ("GET", "/other", "a"),
            ("GET", "/%6fther", "a"),
            ("GET", "/x/../other", "a"),
            ("GET", "/other/", "a"),
            ("GET", "/other?a=1", "a"),
            ("GET", "/known", "a"),
            ("HEAD", "/", "a"),
            ("POST", "/", "a"),
            ("DELETE", "/", "a"),
        ] {
            let text = format!(
                "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            let mut one = gateway.connect().await;
            one.send(text).await;
            if method == "HEAD" {
                let mut head = [0; 12];
                within(tokio::io::AsyncReadExt::read_exact(&mut one.stream, &mut head))
                    .await
                    .unwrap();
                assert_eq!(&head, b"HTTP/1.1 429");
                continue;
            }
            assert_eq!(one.answer().await.unwrap().status, 429, "{method} {path} {host}");
        }
        let statuses = by_http2(gateway.address, 100).await;
        assert_eq!(statuses, vec![429; 100], "streams of one connection");
        assert!(backend.seen().is_empty());
    }
}

/// What becomes of so many requests at the same time on one connection.
async fn by_http2(address: SocketAddr, count: usize) -> Vec<u16> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let all = (0..count).map(|at| {
        let mut sender = sender.clone();
        async move {
            sender.ready().await.unwrap();
            let uri = format!("http://h{at}.example/{at}");
            let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status().as_u16();
            drop(answer.into_body().collect().await);
            status
        }
    });
    within(futures_util::future::join_all(all)).await
}

/// R16: what one network of one customer has is one client, and an address has one spelling.
#[tokio::test]
async fn a_network_of_ipv6_and_an_address_that_is_mapped_are_one_client() {
    let backend = Backend::hello().await;
    let server = "trusted_proxies = [\"127.0.0.1\"]\n";
    let gateway = serve(&backend, server, "rate = \"3/h\"\neverywhere = true").await;
    let mut client = gateway.connect().await;
    let mut count = 0;
    for at in 0..300 {
        let from = format!("x-forwarded-for: 2001:db8:1:2:{at:x}::{at:x}\r\n");
        count += usize::from(get(&mut client, "/", &from).await.status == 200);
    }
    assert_eq!(count, 3, "one /64");
    let next = get(&mut client, "/", "x-forwarded-for: 2001:db8:1:3::1\r\n").await;
    assert_eq!(next.status, 200, "another /64");
    for (from, want) in [
        ("192.0.2.1", 200),
        ("::ffff:192.0.2.1", 200),
        ("::ffff:c000:201", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.2", 200),
    ] {
        let answer = get(&mut client, "/", &format!("x-forwarded-for: {from}\r\n")).await;
        assert_eq!(answer.status, want, "{from}");
    }
}

#[tokio::test]
async fn what_counts_everywhere_counts_what_no_route_answers_too() {
    let backend = Backend::hello().await;
    let only = |limits: &str| {
        file(backend.address, &format!("{HEAD}{QUIET}{limits}"), "")
            .replace("path = \"/{*rest}\"", "path = \"/there\"")
    };
    let all = "[limits.all]\nrate = \"2/h\"\neverywhere = true\n";
    let gateway = Serving::start(&only(all)).await;
    let mut client = gateway.connect().await;
    for (path, want) in [("/scan/1", 404), ("/scan/2", 404), ("/scan/3", 429), ("/there", 429)] {
        assert_eq!(get(&mut client, path, "").await.status, want, "{path}");
    }
    // By caller it is known only behind the route who it is.
    let callers = "[limits.all]\nrate = \"2/h\"\nkey = \"identity\"\neverywhere = true\n";
    let gateway = Serving::start(&only(callers)).await;
    let mut client = gateway.connect().await;
    for want in [404, 404, 404] {
        assert_eq!(get(&mut client, "/scan/1", &with_key("uma")).await.status, want);
    }
    for want in [200, 200, 429] {
        assert_eq!(get(&mut client, "/known", &with_key("uma")).await.status, want);
    }
}

#[tokio::test]
async fn a_reload_gives_nobody_a_fresh_start() {
    let backend = Backend::hello().await;
    let with = |limits: &str, named: &str| file(backend.address, limits, named);
    let first = "[limits.b]\nrate = \"4/h\"\n[limits.mine]\nrate = \"2/h\"\nkey = \"identity\"\n";
    let gateway = Gateway::start(&with(first, "\"b\", \"mine\"")).await;
    assert_eq!(admitted(&gateway.serving, "/known", &with_key("uma"), 2).await, 2);
    // Another one before it, and more for plans.
    let second = format!(
        "[limits.a]\nrate = \"9/h\"\n{}",
        first.replace("key = \"identity\"", "key = \"identity\"\nplans = { pro = \"9/h\" }")
    );
    gateway.write(&with(&second, "\"a\", \"b\", \"mine\""));
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "plans let more through: {said}");
    assert!(said.contains("limits.mine: allows more: plan pro"), "{said}");
    assert_eq!(gateway.command("reload-and-widen").await.0, 200);
    assert_eq!(admitted(&gateway.serving, "/known", &with_key("uma"), 1).await, 0);
    // That was refused for the caller, and had counted for the address, whose limit stands further out.
    let by_address = admitted(&gateway.serving, "/known", &with_key("pia"), 3).await;
    assert_eq!(by_address, 1, "four by address");
}

#[tokio::test]
async fn limits_are_told_by_metrics_and_by_the_table_of_routes() {
    let backend = Backend::hello().await;
    // Somebody else may take it before the gateway does, and is not likely to.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let observe = free.local_addr().unwrap();
    drop(free);
    let text = file(
        backend.address,
        &format!(
            "{HEAD}observe = \"{observe}\"\n{QUIET}[limits.few]\nrate = \"1/h\"\nburst = 2\n[limits.trial]\nrate = \"1/h\"\nshadow = true\nkey = \"identity\"\nplans = {{ pro = [\"5/s\", \"9/d\"] }}\n[limits.all]\nrate = \"100/s\"\neverywhere = true\n"
        ),
        "\"few\", \"trial\"",
    );
    let gateway = Serving::start(&text).await;
    assert_eq!(admitted(&gateway, "/known", &with_key("uma"), 4).await, 2);
    let mut client =
        Client { stream: TcpStream::connect(observe).await.unwrap(), read: Vec::new() };
    let said = get(&mut client, "/metrics", "").await.text();
    for line in [
        "portcullis_limit_refused_total{quota=\"few\"} 2",
        "portcullis_limit_would_refuse_total{quota=\"trial\"} 1",
        "portcullis_limit_refused_total{quota=\"all\"} 0",
        "portcullis_limit_memory_bytes{quota=\"few\"} ",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let routes =
        crate::support::program().arg("routes").arg("--config").arg(gateway.path()).output();
    let said = String::from_utf8(routes.await.unwrap().stdout).unwrap();
    for line in [
        "limit: few trial",
        "few    1/h (burst 2); by address",
        "trial  1/h; plan pro: 5/s and 9/d; by identity; on trial",
        "all    100/s; by address; whatever comes",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[tokio::test]
async fn what_lets_more_through_widens() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let base = "rate = [\"10/s\", \"100/h\"]\nkey = \"identity\"\nplans = { pro = \"50/s\" }\nexempt = [\"10.0.0.0/16\"]\n";
    let redis = "[stores.shared]\nredis = \"redis://127.0.0.1:6379\"\n";
    let with =
        |limit: &str, named: &str| file(nowhere, &format!("{redis}[limits.few]\n{limit}"), named);
    let more = |from: &'static str, to: &'static str| (base.to_owned(), base.replace(from, to));
    let add =
        |old: &'static str, new: &'static str| (format!("{base}{old}"), format!("{base}{new}"));
    let shared = "store = \"shared\"\n";
    for ((old, new), what) in [
        (more("10/s", "20/s"), "its bounds"),
        (more("10/s", "600/min"), "its bounds"),
        (more(", \"100/h\"", ""), "its bounds"),
        (more("50/s", "60/s"), "plan pro"),
        (more("pro = \"50/s\"", "pro = \"50/s\", max = \"60/s\""), "plan max"),
        (more("\"identity\"", "\"tenant\""), "it counts by something else"),
        (more("/16", "/8"), "networks that are not counted"),
        (add("cost = 2\n", ""), "what a request costs"),
        (add("", "shadow = true\n"), "it is on trial"),
        (add("", "exempt_roles = [\"user\"]\n"), "roles that are not counted"),
        (add(shared, ""), "each gateway counts for itself"),
        (add(shared, "store = \"shared\"\nleased = true\n"), "leases"),
        (
            add(shared, "store = \"shared\"\non_store_failure = \"open\"\n"),
            "what happens without its store",
        ),
        (add("store = \"shared\"\nreplicas = 3\n", shared), "what happens without its store"),
    ] {
        let (wide, narrow) = (with(&new, "\"few\""), with(&old, "\"few\""));
        let (code, said) = diff(&narrow, &wide).await;
        assert_eq!(code, Some(2), "{new}: {said}");
        assert!(
            said.contains(&format!("widened: limits.few: allows more: {what}")),
            "{new}: {said}"
        );
        let (_, said) = diff(&wide, &narrow).await;
        if what != "it counts by something else" {
            assert!(said.contains(&format!("narrowed: limits.few: allows less: {what}")), "{said}");
            assert!(!said.contains("widened: "), "{said}");
        }
    }
    let other = "[limits.other]\nrate = \"1/s\"\n";
    let both = with(&format!("{base}{other}"), "\"few\", \"other\"");
    let one = both.replacen("\"few\", \"other\"", "\"few\"", 1);
    let (code, said) = diff(&both, &one).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("widened: /known: no longer counts against `other`"), "{said}");
    let (code, said) = diff(&one, &both).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("narrowed: /known: counts against `other`"), "{said}");
    let all = with(&format!("{base}everywhere = true\n"), "");
    let (code, said) = diff(&all, &file(nowhere, redis, "")).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("widened: limits.few: is gone, and counted everywhere"), "{said}");
}

async fn diff(old: &str, new: &str) -> (Option<i32>, String) {
    let (old, new) = (
        crate::support::TempFile::new("old.toml", old),
        crate::support::TempFile::new("new.toml", new),
    );
    let output =
        crate::support::program().arg("diff").arg(&old.0).arg(&new.0).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let wrong = String::from_utf8(output.stderr).unwrap();
    assert_eq!(wrong, "");
    (output.status.code(), said)
}

#[tokio::test]
async fn it_is_explained_what_limits_would_do() {
    let backend = Backend::hello().await;
    let redis = "[stores.shared]\nredis = \"redis://127.0.0.1:1\"\n";
    let limits = "[limits.few]\nrate = \"2/h\"\nstore = \"shared\"\non_store_failure = \"closed\"\n[limits.all]\nrate = \"9/h\"\neverywhere = true\n";
    let config = crate::support::TempFile::new(
        "x.toml",
        &file(backend.address, &format!("{redis}{limits}"), "\"few\""),
    );
    let mut command = crate::support::program();
    command.arg("explain").arg("--config").arg(&config.0).args(["GET", "/there"]);
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("goes to "), "no store is asked, and none refuses: {said}");
}
