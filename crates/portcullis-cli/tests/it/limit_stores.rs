//! Limits that gateways count together, in a Redis that may go away.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::reload::Gateway;
use crate::support::{Answer, Backend, Client, Serving, within};

/// A Redis of a test's own, which ends with it.
pub(crate) struct Redis {
    address: SocketAddr,
    dir: PathBuf,
    child: Child,
}

impl Redis {
    /// `None` where there is no `redis-server`, which is allowed only where nobody counts on it.
    pub(crate) async fn start() -> Option<Self> {
        // Somebody else may take it before the server does, and is not likely to.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let dir = std::env::temp_dir().join(format!("portcullis-limits-{}", address.port()));
        std::fs::create_dir_all(&dir).unwrap();
        let Some(child) = spawn(address, &dir) else {
            assert!(std::env::var_os("CI").is_none(), "there is no `redis-server`");
            return None;
        };
        let redis = Self { address, dir, child };
        redis.answers().await;
        Some(redis)
    }
    /// Ends it at once, as a machine that loses its power does.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.address, &self.dir).unwrap();
        self.answers().await;
    }
    async fn answers(&self) {
        within(async {
            loop {
                if let Ok(mut stream) = TcpStream::connect(self.address).await {
                    let mut said = [0; 7];
                    stream.write_all(b"PING\r\n").await.unwrap();
                    if stream.read_exact(&mut said).await.is_ok() && &said == b"+PONG\r\n" {
                        return;
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    /// Says something to it, and gives the line that it answers.
    pub(crate) async fn tell(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{words}\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        within(BufReader::new(stream).read_line(&mut said)).await.unwrap();
        said.trim_end().to_owned()
    }
    /// Sends it a signal: `STOP`, `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status().await;
        assert!(done.unwrap().success());
    }
    pub(crate) fn config(&self) -> String {
        format!("[stores.shared]\nredis = \"redis://{}\"\n", self.address)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.start_kill());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn spawn(address: SocketAddr, dir: &PathBuf) -> Option<Child> {
    let port = address.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(dir);
    command.stdout(std::process::Stdio::null()).kill_on_drop(true);
    command.spawn().ok()
}

/// A gateway with a route of its own for each of these limits, which it counts in `shared`.
fn file(redis: &Redis, backend: &Backend, limits: &[(&str, &str)]) -> String {
    let head = "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\n[telemetry]\naccess_log = \"off\"\n";
    format!("{head}{}", body(redis, backend, limits))
}

fn body(redis: &Redis, backend: &Backend, limits: &[(&str, &str)]) -> String {
    let limits: Vec<_> = limits
        .iter()
        .map(|(name, limit)| {
            format!(
                "[limits.{name}]\nstore = \"shared\"\n{limit}\n[[routes]]\nmatch = {{ path = \"/{name}\" }}\naccess = \"public\"\nto = \"b\"\nlimits = [\"{name}\"]\n"
            )
        })
        .collect();
    let upstream = format!("[upstreams.b]\nservers = [\"http://{}\"]\n", backend.address);
    format!("{}{upstream}{}", redis.config(), limits.concat())
}

async fn get(client: &mut Client, path: &str) -> Answer {
    get_as(client, path, "a").await
}

async fn get_as(client: &mut Client, path: &str, who: &str) -> Answer {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-who: {who}\r\n\r\n")).await;
    let answer = client.answer().await.expect("an answer");
    assert!([200, 429].contains(&answer.status), "{}", answer.head);
    answer
}

fn is_degraded(answer: &Answer) -> bool {
    answer.header("ratelimit").is_some_and(|field| field.contains(";degraded"))
}

/// Asks until the store is there, and tells how many got through meanwhile.
async fn with_store(client: &mut Client, path: &str) -> usize {
    within(async {
        let mut admitted = 0;
        loop {
            let answer = get(client, path).await;
            admitted += usize::from(answer.status == 200);
            if !is_degraded(&answer) {
                return admitted;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// How many of so many get through.
async fn admitted(gateway: &Serving, path: &str, requests: usize) -> usize {
    let mut client = gateway.connect().await;
    let mut count = 0;
    for _ in 0..requests {
        count += usize::from(get(&mut client, path).await.status == 200);
    }
    count
}

#[tokio::test]
async fn gateways_on_one_redis_admit_together_what_the_limit_says() {
    let Some(redis) = Redis::start().await else { return };
    let backend = Backend::hello().await;
    // Closed, so that nobody gets through before the store is there.
    let limits = [
        ("exact", "rate = \"20/h\"\nkey = \"everyone\"\non_store_failure = \"closed\""),
        (
            "leased",
            "rate = \"40/h\"\nkey = \"everyone\"\non_store_failure = \"closed\"\nleased = true",
        ),
    ];
    let text = file(&redis, &backend, &limits);
    let (one, other) = (Serving::start(&text).await, Serving::start(&text).await);
    for (path, least, most) in [("/exact", 20, 20), ("/leased", 36, 48)] {
        let mut count = 0;
        for gateway in [&one, &other] {
            count += with_store(&mut gateway.connect().await, path).await;
        }
        let all = (0..4).map(|at| admitted(if at % 2 == 0 { &one } else { &other }, path, 30));
        count += futures_util::future::join_all(all).await.iter().sum::<usize>();
        assert!((least..=most).contains(&count), "{path}: {count}");
    }
}

#[tokio::test]
async fn without_its_store_a_limit_does_what_it_says_and_counts_again_with_it() {
    let Some(mut redis) = Redis::start().await else { return };
    let backend = Backend::hello().await;
    let limit = |mode: &str| {
        format!(
            "rate = \"1000/h\"\nburst = 10\nkey = \"header:x-who\"\non_store_failure = \"{mode}\""
        )
    };
    let local = format!("{}\nreplicas = 2", limit("local"));
    let limits = [("open", &*limit("open")), ("closed", &*limit("closed")), ("local", &*local)];
    let gateway = Serving::start(&file(&redis, &backend, &limits)).await;
    let mut client = gateway.connect().await;
    for path in ["/open", "/closed", "/local"] {
        with_store(&mut client, path).await;
    }
    for who in ["b", "c"] {
        redis.kill().await;
        let mut counts = Vec::new();
        for path in ["/open", "/closed", "/local"] {
            let mut count = 0;
            for _ in 0..20 {
                let answer = get_as(&mut client, path, who).await;
                assert!(is_degraded(&answer) || answer.status == 200, "{path}: {}", answer.head);
                if path == "/closed" {
                    let problem = answer.text();
                    assert!(problem.contains("temporary-reduced-capacity"), "{problem}");
                }
                count += usize::from(answer.status == 200);
            }
            counts.push(count);
        }
        assert_eq!((counts[0], counts[1]), (20, 0));
        // Half of ten, and one more each seven seconds.
        assert!((5..=8).contains(&counts[2]), "{counts:?}");
        redis.start_again().await;
        let again = timeout(Duration::from_secs(1), with_store(&mut client, "/closed")).await;
        assert!(again.is_ok(), "it counts again within a second");
    }
}

/// It serves before its store is there, and a store that only limits ask is no reason not to be ready.
#[tokio::test]
async fn a_gateway_starts_without_the_store_of_its_limits() {
    let Some(mut redis) = Redis::start().await else { return };
    let backend = Backend::hello().await;
    redis.kill().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let observe = free.local_addr().unwrap();
    drop(free);
    for (mode, ready) in [("open", true), ("local", true), ("closed", false)] {
        let limit = format!("rate = \"1000/h\"\non_store_failure = \"{mode}\"");
        let text = file(&redis, &backend, &[("few", &limit)])
            .replace("workers = 2", &format!("workers = 2\nobserve = \"{observe}\""));
        let gateway = Serving::start(&text).await;
        let answer = get(&mut gateway.connect().await, "/few").await;
        assert_eq!(answer.status, if mode == "closed" { 429 } else { 200 }, "{mode}");
        let mut client =
            Client { stream: TcpStream::connect(observe).await.unwrap(), read: Vec::new() };
        // The upstream is looked up first.
        within(async {
            loop {
                client.send("GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let said = client.answer().await.expect("an answer").text();
                if !said.contains("upstream") {
                    assert_eq!(said == "ready\n", ready, "{mode}: {said}");
                    assert!(ready || said.contains("store shared"), "{said}");
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_reload_keeps_the_store_open_and_its_counts() {
    let Some(redis) = Redis::start().await else { return };
    let backend = Backend::hello().await;
    let limit = "rate = \"5/h\"\non_store_failure = \"closed\"";
    let gateway = Gateway::start(&body(&redis, &backend, &[("few", limit)])).await;
    let mut client = gateway.serving.connect().await;
    let mut count = with_store(&mut client, "/few").await;
    let more = format!("{limit}\nburst = 4");
    gateway.write(&body(&redis, &backend, &[("few", &more)]));
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 200, "{said}");
    // Were it opened anew it would be closed for a while.
    let answer = get(&mut client, "/few").await;
    assert!(answer.status == 200 && !is_degraded(&answer), "{}", answer.head);
    count += 1 + admitted(&gateway.serving, "/few", 10).await;
    assert!((4..=5).contains(&count), "{count} of both lives together");
}

/// A database does it too.
#[tokio::test]
async fn gateways_count_together_in_a_database() {
    let path = std::env::temp_dir().join(format!("portcullis-limits-{}.db", std::process::id()));
    let url = format!("sqlite://{}", path.display());
    let backend = Backend::hello().await;
    let text = format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n[stores.main]\nsql = \"{url}\"\n[limits.few]\nrate = \"10/h\"\nstore = \"main\"\nstore_timeout = \"2s\"\non_store_failure = \"closed\"\n[upstreams.b]\nservers = [\"http://{}\"]\n[[routes]]\nmatch = {{ path = \"/few\" }}\naccess = \"public\"\nto = \"b\"\nlimits = [\"few\"]\n",
        backend.address
    );
    let config = crate::support::TempFile::new("migrate.toml", &text);
    let made =
        crate::support::program().arg("migrate").arg("--config").arg(&config.0).output().await;
    assert!(made.unwrap().status.success());
    let (one, other) = (Serving::start(&text).await, Serving::start(&text).await);
    let mut count = 0;
    for gateway in [&one, &other] {
        count += with_store(&mut gateway.connect().await, "/few").await;
    }
    for gateway in [&one, &other] {
        count += admitted(gateway, "/few", 8).await;
    }
    assert_eq!(count, 10);
    for end in ["", "-wal", "-shm", "-journal"] {
        drop(std::fs::remove_file(format!("{}{end}", path.display())));
    }
}
