//! Real clients of gRPC, of gRPC-Web and of WebSocket, and real servers, with the program between them.
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grpc::Shelves;
use grpc::proto::library_client::LibraryClient;
use grpc::proto::{Book, Id};
use portcullis_resilience::TimeoutLayer;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use tonic_web::GrpcWebClientLayer;
use tower_service::Service;

use crate::reload::Gateway;
use crate::support::{ADMIN_HASH, Backend, Reply, Serving, within};

/// A library on a runtime of its own, which ends with all its connections when this is dropped.
struct Library {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Library {
    fn open() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let server = Server::builder().add_service(Shelves::service());
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the file says behind its head; reads are for everybody, additions for who has the key.
fn routes(library: SocketAddr, more: &str) -> String {
    format!(
        r#"
[auth.api_key]
keys = [{{ id = "ada", hash = "{ADMIN_HASH}", roles = ["admin"] }}]
[roles.admin]
permissions = ["books:add"]
[upstreams.library]
servers = ["h2c://{library}"]
identity = {{ subject = "x-user" }}
[[routes]]
match = {{ path = "/library.Library/{{method}}" }}
access = "public"
to = "library"
grpc_web = true
streaming = true
[[routes]]
match = {{ path = "/library.Library/Add" }}
access = {{ permission = "books:add" }}
to = "library"
streaming = true
{more}
"#
    )
}

async fn gateway(library: SocketAddr, more: &str) -> Serving {
    let head = "[server]\nlisten = [\"http://127.0.0.1:0\"]\n[telemetry]\naccess_log = \"off\"\n";
    Serving::start(&format!("{head}{}", routes(library, more))).await
}

async fn client(address: SocketAddr) -> LibraryClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    LibraryClient::new(endpoint.connect().await.unwrap())
}

fn book(id: u32) -> Book {
    Book { id, title: format!("Book {id}") }
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn every_kind_of_call_passes() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    let mut client = client(gateway.address).await;
    assert_eq!(within(client.find(Id { id: 7 })).await.unwrap().into_inner(), book(7));

    let mut watched = within(client.watch(Id { id: 3 })).await.unwrap().into_inner();
    for id in 3..6 {
        assert_eq!(within(watched.message()).await.unwrap(), Some(book(id)));
    }
    drop(watched);

    let books = tokio_stream::iter((1..=1_000).map(book));
    let added = within(client.add(with_key(books, "admin-key"))).await.unwrap();
    assert_eq!(added.into_inner().count, 1_000);

    // Each answer comes before the next question is asked.
    let (ask, asked) = mpsc::channel(1);
    let mut found =
        within(client.find_each(ReceiverStream::new(asked))).await.unwrap().into_inner();
    for id in [5, 1, 9] {
        ask.send(Id { id }).await.unwrap();
        assert_eq!(within(found.message()).await.unwrap(), Some(book(id)));
    }
    drop(ask);
    assert_eq!(within(found.message()).await.unwrap(), None);
}

/// More small messages than any flood would need, which is what gRPC is.
#[tokio::test]
async fn many_small_messages_are_no_flood() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    let mut client = client(gateway.address).await;
    let ids = tokio_stream::iter((1..=30_000).map(|id| Id { id }));
    let mut found = within(client.find_each(ids)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(found) = within(found.message()).await.unwrap() {
        count += 1;
        assert_eq!(found.id, count);
    }
    assert_eq!(count, 30_000);
}

#[tokio::test]
async fn a_status_passes_and_what_we_refuse_is_one_too() {
    let library = Library::open();
    let slow = Backend::answering(|_| Reply::Never).await;
    let more = format!(
        r#"
[limits.few]
rate = "1/min"
key = "address"
[upstreams.slow]
servers = ["http://{}"]
[[routes]]
match = {{ path = "/library.Library/Watch", headers = {{ x-kind = "slow" }} }}
access = "public"
timeout = "100ms"
to = "slow"
[[routes]]
match = {{ path = "/library.Library/Watch", headers = {{ x-kind = "few" }} }}
access = "public"
limits = ["few"]
to = "library"
"#,
        slow.address
    );
    let gateway = gateway(library.address, &more).await;
    let mut client = client(gateway.address).await;
    let code = |status: Status| (status.code(), status.message().to_owned());

    let missing = within(client.find(Id { id: 0 })).await.unwrap_err();
    assert_eq!(code(missing), (Code::NotFound, "there is no book 0".to_owned()));
    // In the middle of a stream.
    let ids = tokio_stream::iter([1, 0, 2].map(|id| Id { id }));
    let mut found = within(client.find_each(ids)).await.unwrap().into_inner();
    assert_eq!(within(found.message()).await.unwrap(), Some(book(1)));
    assert_eq!(within(found.message()).await.unwrap_err().code(), Code::NotFound);

    let books = || tokio_stream::iter([book(1)]);
    let stranger = within(client.add(books())).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger}");
    let wrong = within(client.add(with_key(books(), "no-key"))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated, "{wrong}");

    let watch = |kind: &'static str| {
        let mut request = Request::new(Id { id: 1 });
        request.metadata_mut().insert("x-kind", kind.parse().unwrap());
        request
    };
    let late = within(client.watch(watch("slow"))).await.unwrap_err();
    let said = (Code::DeadlineExceeded, "The server did not answer in time".to_owned());
    assert_eq!(code(late), said);
    assert!(within(client.watch(watch("few"))).await.is_ok());
    let few = within(client.watch(watch("few"))).await.unwrap_err();
    assert_eq!(few.code(), Code::ResourceExhausted, "{few}");

    drop(library);
    let gone = within(async {
        loop {
            match client.find(Id { id: 7 }).await {
                Err(status) => break status,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(gone.await.code(), Code::Unavailable);
}

/// The server is told what is left of the client's time, and not what our own limits are.
#[tokio::test]
async fn a_deadline_goes_on_to_the_server() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    let mut client = client(gateway.address).await;
    let answer = within(client.find(Id { id: 7 })).await.unwrap();
    assert!(answer.metadata().get("x-time-left").is_none(), "{:?}", answer.metadata());
    let mut request = Request::new(Id { id: 7 });
    request.set_timeout(Duration::from_secs(5));
    let answer = within(client.find(request)).await.unwrap();
    let left = answer.metadata().get("x-time-left").unwrap().to_str().unwrap().to_owned();
    let millis: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..5_000).contains(&millis), "{left}");
}

/// Whatever enforces the same limit on the way, as tonic's own channel does.
#[tokio::test]
async fn a_limit_around_a_client_is_a_deadline_to_it() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = Channel::from_shared(format!("http://{}", mute.local_addr().unwrap())).unwrap();
    let channel = tower::ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .service(channel.connect_lazy());
    let mut client = LibraryClient::new(channel);
    for _ in 0..20 {
        let late = within(client.find(Id { id: 7 })).await.unwrap_err();
        let want = (Code::DeadlineExceeded, "The server did not answer in time");
        assert_eq!((late.code(), late.message()), want);
    }
}

#[tokio::test]
async fn a_call_ends_with_its_server() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    let mut client = client(gateway.address).await;
    let mut watched = within(client.watch(Id { id: 1 })).await.unwrap().into_inner();
    assert_eq!(within(watched.message()).await.unwrap(), Some(book(1)));
    drop(library);
    let ended = within(async {
        loop {
            match watched.message().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        }
    });
    assert!(ended.await.is_err(), "an end that is not whole is no end");
}

#[tokio::test]
async fn browsers_speak_grpc_web() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    // HTTP/1.1, as a browser in front of a gateway without TLS.
    let web = tower::ServiceBuilder::new()
        .layer(GrpcWebClientLayer::new())
        .service(PlainClient { address: gateway.address });
    let origin = format!("http://{}", gateway.address).parse().unwrap();
    let mut client = LibraryClient::with_origin(web, origin);
    assert_eq!(within(client.find(Id { id: 7 })).await.unwrap().into_inner(), book(7));
    let missing = within(client.find(Id { id: 0 })).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "there is no book 0"));
    let mut watched = within(client.watch(Id { id: 3 })).await.unwrap().into_inner();
    for id in 3..6 {
        assert_eq!(within(watched.message()).await.unwrap(), Some(book(id)));
    }
    let books = tokio_stream::iter([book(1)]);
    let stranger = within(client.add(books)).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger}");
}

/// The same in Base64, by hand: the clients that speak it are browsers.
#[tokio::test]
async fn browsers_speak_grpc_web_in_text() {
    let library = Library::open();
    let gateway = gateway(library.address, "").await;
    let ask = async |body: &str| {
        let kind = "application/grpc-web-text+proto";
        let length = body.len();
        let head = format!(
            "POST /library.Library/Find HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        gateway.ask(format!("{head}{body}")).await
    };
    let message = |content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap();
        STANDARD.encode([&[0], &length.to_be_bytes()[..], content].concat())
    };
    let answer = ask(&message(b"\x08\x07")).await;
    assert_eq!(answer.header("content-type"), Some("application/grpc-web-text"));
    // Each part is encoded by itself.
    let text = answer.text();
    let parts = text.split_inclusive("==").flat_map(|part| part.split_inclusive('='));
    let parts = parts.flat_map(|part| STANDARD.decode(part).unwrap());
    let decoded = String::from_utf8_lossy(&parts.collect::<Vec<_>>()).into_owned();
    assert!(decoded.contains("Book 7") && decoded.contains("grpc-status: 0\r\n"), "{decoded:?}");
    for wrong in ["AAAA*AAA", "AAAAA"] {
        let answer = ask(wrong).await;
        assert_eq!(answer.header("grpc-status"), Some("3"), "{}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/grpc-web-text"));
    }
}

/// A client of HTTP/1.1, on a connection for each request.
#[derive(Clone)]
struct PlainClient {
    address: SocketAddr,
}

impl<B> Service<http::Request<B>> for PlainClient
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let address = self.address;
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            *request.version_mut() = http::Version::HTTP_11;
            let path = request.uri().path().parse().unwrap();
            *request.uri_mut() = path;
            let host = address.to_string().parse().unwrap();
            request.headers_mut().insert("host", host);
            sender.send_request(request).await
        })
    }
}

/// A server of WebSocket that says everything back.
async fn echo() -> SocketAddr {
    use tokio_stream::StreamExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || send(&mut socket, message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Sends a message, all of it.
async fn send<S>(
    socket: &mut tokio_tungstenite::WebSocketStream<S>,
    message: Message,
) -> Result<(), tokio_tungstenite::tungstenite::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use futures_util::SinkExt;
    socket.send(message).await
}

#[tokio::test]
async fn a_call_and_a_websocket_live_through_a_hundred_reloads() {
    use tokio_stream::StreamExt;
    let (library, echo) = (Library::open(), echo().await);
    let file = |round: u32| {
        let more = format!(
            "[upstreams.echo]\nservers = [\"http://{echo}\"]\n\
             [[routes]]\nmatch = {{ path = \"/echo\" }}\naccess = \"public\"\nto = \"echo\"\n\
             [[routes]]\nmatch = {{ path = \"/other\" }}\naccess = \"public\"\nredirect = \"/round/{round}\"\n"
        );
        routes(library.address, &more)
    };
    let gateway = Gateway::start(&file(0)).await;
    let front = gateway.serving.address;
    let mut client = client(front).await;
    let (ask, asked) = mpsc::channel(1);
    let mut found =
        within(client.find_each(ReceiverStream::new(asked))).await.unwrap().into_inner();
    let stream = tokio::net::TcpStream::connect(front).await.unwrap();
    let (mut socket, _) =
        within(tokio_tungstenite::client_async(format!("ws://{front}/echo"), stream))
            .await
            .unwrap();
    for round in 1..=100 {
        gateway.write(&file(round));
        let (status, said) = gateway.command("reload").await;
        assert_eq!(status, 200, "{said}");
        let other = gateway.serving.ask("GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(other.header("location"), Some(format!("/round/{round}").as_str()));
        ask.send(Id { id: round }).await.unwrap();
        assert_eq!(within(found.message()).await.unwrap(), Some(book(round)));
        let text = Message::text(format!("round {round}"));
        send(&mut socket, text.clone()).await.unwrap();
        assert_eq!(within(socket.next()).await.unwrap().unwrap(), text);
    }
}
