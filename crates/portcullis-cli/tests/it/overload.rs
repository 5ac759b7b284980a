//! `[overload]` through the program: who is shed, who comes through, and when there is room again.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::matrix::hash;
use crate::support::{Answer, Client, Serving, TempFile, find, program, within};

/// A back end that begins each answer to `/slow`, and ends one of them for each permit of `end`.
struct Slow {
    address: SocketAddr,
    end: Arc<Semaphore>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), Arc::new(Semaphore::new(0)));
        let told = Arc::clone(&end);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&told)));
            }
        });
        Self { address, end }
    }
}

async fn serve(mut stream: TcpStream, end: Arc<Semaphore>) {
    let mut read = Vec::new();
    loop {
        while find(&read, b"\r\n\r\n").is_none() {
            match stream.read_buf(&mut read).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
        let is_slow = read.starts_with(b"GET /slow ");
        read.clear();
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await);
        if is_slow {
            end.acquire().await.unwrap().forget();
        }
        drop(stream.write_all(b"llo").await);
    }
}

/// Keys without a plan, of plan `pro` and of plan `free`. Whoever asks may call everything, but `/known` only with a key.
fn file(slow: &Slow, server: &str, overload: &str, more: &str) -> String {
    let key = |id: &str, more: &str| {
        format!("{{ id = \"{id}\", hash = \"{}\"{more} }}", hash(&format!("{id}-key")))
    };
    let keys = [key("uma", ""), key("pia", ", plan = \"pro\""), key("fin", ", plan = \"free\"")];
    let route = |path: &str, access: &str, more: &str| {
        format!(
            "[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = \"{access}\"\nto = \"b\"\n{more}\n"
        )
    };
    format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\n{server}\n[telemetry]\naccess_log = \"off\"\n\
         [overload]\n{overload}\n[upstreams.b]\nservers = [\"http://{}\"]\n\
         [auth.api_key]\nkeys = [{}]\n{}{}{}{}",
        slow.address,
        keys.join(", "),
        route("/health", "public", "priority = \"critical\""),
        route("/known", "authenticated", ""),
        route("/slow", "optional", more),
        route("/hello", "optional", more),
    )
}

const HIGH: &str = "priority = \"high\"";

/// An address that is free. Somebody else may take it before the gateway does, and is not likely to.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn get(gateway: &Serving, path: &str, more: &str) -> Answer {
    gateway.ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n")).await
}

async fn statuses(gateway: &Serving, asked: &[(&str, &str, u16)]) {
    for (path, more, status) in asked {
        let answer = get(gateway, path, more).await;
        assert_eq!(answer.status, *status, "{path} {more:?}: {}", answer.text());
    }
}

/// Begins a request whose answer has begun, and is not over.
async fn hold(gateway: &Serving, more: &str) -> Client {
    let mut client = gateway.connect().await;
    client.send(format!("GET /slow HTTP/1.1\r\nhost: a\r\n{more}\r\n")).await;
    within(async {
        while find(&client.read, b"\r\n\r\nhe").is_none() {
            let count = client.stream.read_buf(&mut client.read).await.unwrap();
            let said = String::from_utf8_lossy(&client.read);
            assert!(count > 0 && said.starts_with("HTTP/1.1 200"), "{said}");
        }
    })
    .await;
    client
}

async fn until_it_is_let_in(gateway: &Serving, path: &str) {
    within(async {
        while get(gateway, path, "").await.status != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn metrics(observe: SocketAddr) -> String {
    let stream = TcpStream::connect(observe).await.unwrap();
    let mut client = Client { stream, read: Vec::new() };
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.unwrap().text()
}

/// Waits until metrics have this line.
async fn until_metrics_say(observe: SocketAddr, line: &str) {
    within(async {
        while !metrics(observe).await.contains(&format!("{line}\n")) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_house_sheds_at_once_until_a_body_is_over_and_a_reload_keeps_count() {
    let (slow, observe) = (Slow::start().await, free());
    let with = |limit: usize| {
        let overload = format!("limit = {limit}\nretry_after = \"7s\"\nfair = false");
        file(&slow, &format!("observe = \"{observe}\""), &overload, HIGH)
    };
    let gateway = Serving::start(&with(2)).await;
    let mut held = [hold(&gateway, "").await, hold(&gateway, "").await];
    let shed = get(&gateway, "/hello", "").await;
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("7")), "{}", shed.head);
    assert!(shed.text().contains("server-busy"), "{}", shed.text());
    statuses(&gateway, &[("/health", "", 200)]).await;
    // What came through is over a moment after its last byte.
    until_metrics_say(observe, "portcullis_overload_in_flight{layer=\"inner\"} 2").await;
    let said = metrics(observe).await;
    for line in [
        "portcullis_overload_limit{layer=\"inner\"} 2\n",
        "portcullis_overload_waiting{layer=\"inner\"} 0\n",
        "portcullis_overload_admitted_total{layer=\"inner\"} 3\n",
        "portcullis_overload_shed_total{layer=\"inner\",reason=\"full\"} 1\n",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(!said.contains("layer=\"front\""), "nobody is counted there");
    // With one more place there is room for one more, and not for three.
    std::fs::write(gateway.path(), with(3)).unwrap();
    let pid = gateway.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    gateway.logged(&["the file was read again and applies"]).await;
    let mut third = hold(&gateway, "").await;
    statuses(&gateway, &[("/hello", "", 503), ("/health", "", 200)]).await;
    slow.end.add_permits(1);
    until_it_is_let_in(&gateway, "/hello").await;
    slow.end.add_permits(2);
    for client in held.iter_mut().chain([&mut third]) {
        assert_eq!(client.answer().await.unwrap().text(), "hello", "who was let in is served");
    }
    until_metrics_say(observe, "portcullis_overload_in_flight{layer=\"inner\"} 0").await;
}

#[tokio::test]
async fn the_less_important_are_shed_first_and_what_is_refused_anyway_needs_no_room() {
    let slow = Slow::start().await;
    let overload = "limit = 10\nreserve = 1\nfair = false\npaid_plans = [\"pro\"]";
    let gateway = Serving::start(&file(&slow, "", overload, "")).await;
    let [uma, pia, fin] = ["uma", "pia", "fin"].map(|id| format!("x-api-key: {id}-key\r\n"));
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(hold(&gateway, "").await);
    }
    statuses(&gateway, &[("/hello", "", 503)]).await;
    held.push(hold(&gateway, &uma).await);
    statuses(&gateway, &[("/hello", &uma, 503), ("/hello", &fin, 503)]).await;
    held.push(hold(&gateway, &pia).await);
    statuses(&gateway, &[("/hello", &pia, 503), ("/health", "", 200)]).await;
    let eve = "x-api-key: eve-key\r\n";
    statuses(&gateway, &[("/known", "", 401), ("/hello", eve, 401), ("/nowhere", "", 404)]).await;
    // Who goes away makes room too.
    drop(held);
    until_it_is_let_in(&gateway, "/hello").await;
}

#[tokio::test]
async fn tenants_share_a_full_house_unless_the_file_says_otherwise() {
    let slow = Slow::start().await;
    let uma = "x-api-key: uma-key\r\n";
    for (more, status) in [("", 200), ("\nfair = false", 503)] {
        let gateway = Serving::start(&file(&slow, "", &format!("limit = 9{more}"), HIGH)).await;
        let _pia = hold(&gateway, "x-api-key: pia-key\r\n").await;
        // Somebody without a key takes whatever there is.
        let mut held = Vec::new();
        for _ in 0..8 {
            let mut client = gateway.connect().await;
            client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut first = [0; 12];
            within(client.stream.read_exact(&mut first)).await.unwrap();
            held.push(client);
        }
        statuses(&gateway, &[("/hello", uma, status)]).await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_under_way_in_front_of_everything() {
    let (slow, observe) = (Slow::start().await, free());
    let server = format!("observe = \"{observe}\"\ntrusted_proxies = [\"127.0.0.1\"]");
    let text = file(&slow, &server, "limit = 10\nper_address = 1\nretry_after = \"3s\"", HIGH);
    let gateway = Serving::start(&text).await;
    let [one, other] = [1, 2].map(|host| format!("x-forwarded-for: 10.0.0.{host}\r\n"));
    let _held = hold(&gateway, &one).await;
    for path in ["/hello", "/health", "/nowhere"] {
        let shed = get(&gateway, path, &one).await;
        assert_eq!((shed.status, shed.header("retry-after")), (503, Some("3")), "{path}");
    }
    statuses(&gateway, &[("/hello", &other, 200)]).await;
    let said = metrics(observe).await;
    let line = "portcullis_overload_shed_total{layer=\"front\",reason=\"address\"} 3\n";
    assert!(said.contains(line), "{said}");
}

#[tokio::test]
async fn who_finds_no_room_waits_where_the_file_says_so() {
    let (slow, observe) = (Slow::start().await, free());
    let overload = "limit = \"adaptive\"\nbetween = [1, 1]\nqueue = 1\nqueue_target = \"1h\"\nqueue_time = \"1h\"";
    let text = file(&slow, &format!("observe = \"{observe}\""), overload, HIGH);
    let gateway = Serving::start(&text).await;
    let mut held = hold(&gateway, "").await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until_metrics_say(observe, "portcullis_overload_waiting{layer=\"inner\"} 1").await;
    statuses(&gateway, &[("/hello", "", 503)]).await;
    slow.end.add_permits(1);
    assert_eq!(held.answer().await.unwrap().text(), "hello");
    assert_eq!(waiting.answer().await.unwrap().text(), "hello");
}

#[tokio::test]
async fn it_is_explained_and_told_by_routes_and_widens_nothing() {
    let slow = Slow::start().await;
    let read = |overload: &str, more: &str| {
        let text = file(&slow, "", overload, more);
        portcullis_config::Gateway::parse("overload.toml", &text, &|_| None).unwrap()
    };
    let before = read("limit = 2\nper_address = 1\nreserve = 1", "priority = \"low\"");
    let changes = read("limit = 900", "").changes_since(&before);
    assert_eq!((changes.widened(), changes.narrowed()), (&[][..], &[][..]));
    assert!(changes.to_string().contains("changed: overload.limit: 2 -> 900"), "{changes}");
    let text = file(&slow, "", "limit = 2\nper_address = 1", HIGH);
    let file = TempFile::new("overload.toml", &text);
    for (words, line) in [
        (&["explain", "GET", "/hello"][..], "admitted: 1 of 2 are under way"),
        (&["routes"], "priority: critical"),
    ] {
        let said = program().args(words).arg("--config").arg(&file.0).output().await.unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains(line), "{line} in {said}");
    }
}
