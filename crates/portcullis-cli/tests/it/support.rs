//! The program in front of back ends that record what they get.
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than anything takes that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whatever is waited for comes soon.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    timeout(PATIENCE, work).await.expect("it takes too long")
}

/// A back end that records every request as it came, byte for byte.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// What a back end does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// Answers, and closes without a word about it.
    ThenClose(Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Never answers.
    Never,
    /// Answers as soon as this is true.
    When(watch::Receiver<bool>, Vec<u8>),
    /// Answers, and sends back whatever comes from then on.
    Echo(Vec<u8>),
}

/// A plain answer.
pub(crate) fn ok(body: &str) -> Reply {
    Reply::Bytes(
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
    )
}

impl Backend {
    /// One that says `hello` to everything.
    pub(crate) async fn hello() -> Self {
        Self::answering(|_| ok("hello")).await
    }
    pub(crate) async fn answering(
        answer: impl Fn(&str) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let (record, count) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&record), answer.clone()));
            }
        });
        Self { address, seen, connections }
    }
    /// What it has seen since the last look.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    answer: impl Fn(&str) -> Reply,
) {
    let mut read = Vec::new();
    loop {
        let len = loop {
            if let Some(len) = whole(&read) {
                break len;
            }
            let mut bytes = vec![0; 65_536];
            match stream.read(&mut bytes).await {
                Ok(count) if count > 0 => read.extend_from_slice(&bytes[..count]),
                _ => {
                    if !read.is_empty() {
                        // A request that did not come whole is one that was seen, too.
                        let part = format!("(part) {}", String::from_utf8_lossy(&read));
                        seen.lock().unwrap().push(part);
                    }
                    return;
                }
            }
        };
        let request: Vec<u8> = read.drain(..len).collect();
        let request = String::from_utf8_lossy(&request).into_owned();
        let reply = answer(&request);
        seen.lock().unwrap().push(request);
        match reply {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::ThenClose(bytes) => {
                drop(stream.write_all(&bytes).await);
                return;
            }
            Reply::Close => return,
            Reply::Never => std::future::pending().await,
            Reply::When(mut is_time, bytes) => {
                if is_time.wait_for(|is_time| *is_time).await.is_err()
                    || stream.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
            Reply::Echo(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                stream.write_all(&read).await.unwrap();
                let (mut reading, mut writing) = stream.split();
                drop(tokio::io::copy(&mut reading, &mut writing).await);
                return;
            }
        }
    }
}

/// The length of the request at the beginning, once it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        // The last chunk, and behind it trailers and an empty line.
        let last = head - 2 + find(&bytes[head - 2..], b"\r\n0\r\n")? + 3;
        return Some(last + find(&bytes[last..], b"\r\n\r\n")? + 4);
    }
    let length = text.split("content-length: ").nth(1);
    let length: usize = length.map_or(0, |text| text.lines().next().unwrap().parse().unwrap());
    (bytes.len() >= head + length).then_some(head + length)
}

pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A file of a test's own, gone with it.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, SeqCst);
        let file = format!("portcullis-cli-{}-{count}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.kill_on_drop(true).env_remove("RUST_LOG");
    command
}

/// The program, serving a file.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    /// Killed with this.
    child: Child,
    file: TempFile,
}

impl Serving {
    /// Serves this file, which listens at the free port of its first place.
    pub(crate) async fn start(text: &str) -> Self {
        let file = TempFile::new("serve.toml", text);
        let mut child = program()
            .arg("serve")
            .arg("--config")
            .arg(&file.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                eprintln!("{line}");
                heard.lock().unwrap().push(line);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = None;
        within(async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let place = line.strip_prefix("listening on http://");
                address = address.or(place.and_then(|place| place.parse().ok()));
                if line == "ready" {
                    break;
                }
            }
        })
        .await;
        let address = address.expect("it says where it listens");
        Self { address, log, child, file }
    }
    /// The file that it serves.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.file.0
    }
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
    /// Waits for a line of the log that has all of this.
    pub(crate) async fn logged(&self, parts: &[&str]) -> String {
        within(async {
            loop {
                let log = self.log.lock().unwrap().clone();
                let line =
                    log.into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
                if let Some(line) = line {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }
    /// The answer to a request for something that may be cached: not one that is still on its way into the cache, where it comes a little later than to the client.
    pub(crate) async fn ask_settled(&self, request: impl AsRef<[u8]>) -> Answer {
        within(async {
            loop {
                let answer = self.ask(&request).await;
                let status = answer.header("cache-status").unwrap_or_default();
                if !status.contains("; collapsed") {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
    /// Sends bytes on a connection of their own, and reads one answer.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await.expect("an answer")
    }
}

/// An HTTP/1.1 client that sends what it is told.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) read: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have seen enough before the end.
        drop(self.stream.write_all(bytes.as_ref()).await);
    }
    /// The next answer; none at the end of the connection.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        within(async {
            let mut over = false;
            loop {
                if let Some((answer, len)) = Answer::parse(&self.read, over) {
                    self.read.drain(..len);
                    return Some(answer);
                }
                if over {
                    return None;
                }
                let mut bytes = vec![0; 65_536];
                match self.stream.read(&mut bytes).await {
                    Ok(count) if count > 0 => self.read.extend_from_slice(&bytes[..count]),
                    _ => over = true,
                }
            }
        })
        .await
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(bytes: &[u8], over: bool) -> Option<(Self, usize)> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status: u16 = head.get(9..12)?.parse().ok()?;
        let rest = &bytes[end..];
        if status < 200 || status == 204 || status == 304 {
            return Some((Self { status, head, body: Vec::new() }, end));
        }
        if header(&head, "transfer-encoding").is_some() {
            let (body, len) = dechunked(rest)?;
            return Some((Self { status, head, body }, end + len));
        }
        let len = match header(&head, "content-length") {
            Some(len) => len.parse().ok()?,
            None if over => rest.len(),
            None => return None,
        };
        let body = rest.get(..len)?.to_vec();
        Some((Self { status, head, body }, end + len))
    }
}

fn dechunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        at += line + 2;
        if size == 0 {
            // Trailers, and the end.
            let end = find(&bytes[at - 2..], b"\r\n\r\n")?;
            return Some((body, at - 2 + end + 4));
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
    }
}

/// The value of a header in the text of a message.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    let mut values = lines.filter_map(|line| line.split_once(':'));
    let found = values.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Every value of a header in the text of a message.
pub(crate) fn headers<'a>(head: &'a str, name: &'a str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    let values = lines.filter_map(|line| line.split_once(':'));
    values
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// The SHA-256 digest of `user-key` and of `admin-key`.
pub(crate) const USER_HASH: &str =
    "0845e3658edc1c91bfc9d172eeae3e60417056b1b7fe9909c00e05023adb7f1d";
pub(crate) const ADMIN_HASH: &str =
    "69a5265506c94c77b787a7d7377b7685a0eff82e33920a71e7ee22cd6154953e";

/// A gateway with public routes, routes for whoever is known, and routes for administrators, in front of one back end that is told who
/// is calling.
pub(crate) fn guarded(backend: SocketAddr) -> String {
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
workers = 1
[telemetry]
access_log = "off"
[upstreams.b]
servers = ["http://{backend}"]
timeout = "5s"
identity = {{ subject = "x-pc-user", roles = "x-pc-roles" }}
[auth.api_key]
keys = [
  {{ id = "uma", hash = "{USER_HASH}", roles = ["user"] }},
  {{ id = "ada", hash = "{ADMIN_HASH}", roles = ["admin"] }},
]
[roles.user]
permissions = ["api:use"]
[roles.admin]
permissions = ["admin:*"]
[[routes]]
match = {{ path = "/public/{{*rest}}" }}
access = "public"
to = "b"
[[routes]]
match = {{ path = "/api/{{*rest}}" }}
access = "authenticated"
to = "b"
[[routes]]
match = {{ path = "/admin/{{*rest}}" }}
access = {{ permission = "admin:all" }}
to = "b"
[[routes]]
match = {{ path = "/office/{{*rest}}" }}
access = "public"
only_from = ["10.0.0.0/8"]
to = "b"
[[routes]]
match = {{ path = "/strip/{{*rest}}" }}
access = "public"
to = "b"
strip_prefix = "/strip"
[[routes]]
match = {{ path = "/{{*rest}}", hosts = ["admin.example.com"] }}
access = {{ permission = "admin:all" }}
to = "b"
[[routes]]
match = {{ path = "/here", hosts = ["*.example.com"] }}
access = "authenticated"
to = "b"
"#
    )
}
