//! A server on a free port, and clients that see every byte.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use portcullis_core::problem::kinds;
use portcullis_core::{Body, BodyError, BoxError, Problem};
use portcullis_server::{Handle, OpenServer, ServeError, Server, Stats};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::service_fn;

/// Longer than anything takes that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs; it is closed when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) stats: Stats,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        within(&mut self.served).await.unwrap().unwrap();
    }
    pub(crate) async fn connect(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(self.address).await.unwrap())
    }
    /// Sends bytes on a connection of their own, and reads one answer.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }
    /// The server still answers everybody else.
    pub(crate) async fn assert_well(&self) {
        assert_eq!(self.ask(get("/")).await.status, 200);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Whatever is waited for comes soon.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    timeout(PATIENCE, work).await.expect("it takes too long")
}

/// Waits until `is` holds, which something else brings about.
pub(crate) async fn until(mut is: impl FnMut() -> bool) {
    within(async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Begins with the server on a free port of this machine.
pub(crate) fn local() -> Server {
    Server::bind("http://127.0.0.1:0")
}

/// Serves the [`ordinary`] application.
pub(crate) fn start(server: Server) -> Running {
    start_with(server, ordinary)
}

/// Serves what `answer` answers.
pub(crate) fn start_with<F, R>(server: Server, answer: F) -> Running
where
    F: FnMut(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let (handle, stats) = (server.handle(), server.stats());
    let open = server.open().unwrap();
    start_open(open, handle, stats, service_fn(answer))
}

/// Serves any service.
pub(crate) fn start_open<S>(open: OpenServer, handle: Handle, stats: Stats, service: S) -> Running
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = open.addresses().first().copied().unwrap_or(nowhere);
    let served = tokio::spawn(open.serve(service));
    Running { address, handle, stats, served }
}

/// What most services look like: a page, an echo, nothing else.
pub(crate) async fn ordinary(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    Ok(match (request.method(), path) {
        (&Method::OPTIONS, _) => no_content(),
        (&Method::GET | &Method::HEAD, "/") => text("hello"),
        (&Method::POST, "/" | "/echo") => echo(request).await,
        _ => Problem::new(kinds::ROUTE_NOT_FOUND).into_response(),
    })
}

pub(crate) fn text(text: impl Into<String>) -> Response<Body> {
    Response::new(Body::from(text.into()))
}

pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Sends back what came; a body that failed says what went wrong.
pub(crate) async fn echo(request: Request<Body>) -> Response<Body> {
    match portcullis_testkit::collect(request.into_body()).await {
        Ok((bytes, _)) => Response::new(Body::from(bytes)),
        Err(error) => match BodyError::find(&*error) {
            Some(error) => error.problem().into_response(),
            None => Problem::new(kinds::BODY_MALFORMED).into_response(),
        },
    }
}

/// A body of these pieces, each as one frame, without a length.
pub(crate) fn pieces(
    pieces: impl IntoIterator<Item = Bytes, IntoIter: Send + Unpin + 'static>,
) -> Body {
    struct Pieces<I>(I);
    impl<I: Iterator<Item = Bytes> + Unpin> http_body::Body for Pieces<I> {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(self.0.next().map(|bytes| Ok(http_body::Frame::data(bytes))))
        }
    }
    Body::new(Pieces(pieces.into_iter()))
}

/// A request for `path` that is as short as can be.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// A request with a body whose length is announced.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// How a connection stands once nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Closed,
}

/// An HTTP/1.1 connection, byte for byte.
pub(crate) struct Raw<S> {
    pub(crate) stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }
    /// As [`send`](Self::send), where the server may have closed.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(within(self.stream.write_all(bytes.as_ref())).await);
    }
    /// Reads more. `false` at the end of the connection, however it came.
    async fn more(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        match self.stream.read(&mut bytes).await {
            Ok(count) if count > 0 => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
            _ => false,
        }
    }
    /// The next answer, 1xx included. None at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        self.next_to("GET").await
    }
    /// The next answer to a request with this method.
    pub(crate) async fn next_to(&mut self, method: &str) -> Option<Answer> {
        within(async {
            let mut over = false;
            loop {
                if let Some((answer, len)) = Answer::parse(&self.read, method, over) {
                    self.read.drain(..len);
                    return Some(answer);
                }
                if over {
                    return None;
                }
                over = !self.more().await;
            }
        })
        .await
    }
    /// The next answer, which must come.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = self.next().await;
        answer.unwrap_or_else(|| panic!("no answer, but {:?}", String::from_utf8_lossy(&self.read)))
    }
    /// Reads whatever comes until the end, or until nothing has come for `quiet`.
    pub(crate) async fn rest(&mut self, quiet: Duration) -> (Vec<u8>, End) {
        let end = loop {
            match timeout(quiet, self.more()).await {
                Err(_) => break End::Open,
                Ok(false) => break End::Closed,
                Ok(true) => {}
            }
        };
        (std::mem::take(&mut self.read), end)
    }
    /// Nothing comes any more, and the connection is closed.
    pub(crate) async fn assert_closed(&mut self) {
        let (rest, end) = self.rest(PATIENCE).await;
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("", End::Closed));
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
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    /// It is this problem, in our words and with our headers.
    pub(crate) fn assert_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert!(self.text().contains(&format!("{slug}\"")), "{slug}: {}", self.text());
    }

    /// The first answer in `bytes`, and how long it is. `over` says that nothing follows.
    pub(crate) fn parse(bytes: &[u8], method: &str, over: bool) -> Option<(Self, usize)> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let status: u16 = status.and_then(|status| status.parse().ok()).expect("a status line");
        let rest = &bytes[end..];
        let (body, len) = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            (Vec::new(), 0)
        } else if header(&head, "transfer-encoding").is_some() {
            dechunked(rest)?
        } else if let Some(len) = header(&head, "content-length") {
            let len: usize = len.parse().unwrap();
            (rest.get(..len)?.to_vec(), len)
        } else if over {
            (rest.to_vec(), rest.len())
        } else {
            return None;
        };
        Some((Self { status, head, body }, end + len))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

fn dechunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        at += line + 2;
        let chunk = bytes.get(at..at + size + 2)?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends where it says");
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// Where `part` first stands.
pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// The folder of test vectors that `PORTCULLIS_VECTORS` names, or that lies beside the project. Where there is none tests skip
/// visibly, but not in CI.
pub(crate) fn vectors(what: &str) -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from).join(what);
    if folder.exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
    eprintln!("skipped: there are no vectors in {}", folder.display());
    None
}

/// A folder of a test's own, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
