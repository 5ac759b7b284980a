//! The end of a server, and the beginning of the next one.
use std::convert::Infallible;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use portcullis_core::{Body, Connection, Readiness, Revocation};
use portcullis_server::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::h2::H2;
use crate::support::{
    End, Folder, Raw, Running, get, local, ordinary, start, start_open, start_with, text, until,
    within,
};

const SECOND: Duration = Duration::from_secs(1);

/// Answers `/wait` when it is told to.
fn waiting(server: Server) -> (Running, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let server = start_with(server, move |request: Request<Body>| {
        let wait = Arc::clone(&wait);
        async move {
            if request.uri().path() == "/wait" {
                wait.notified().await;
                return Ok(text("done"));
            }
            ordinary(request).await
        }
    });
    (server, told)
}

#[tokio::test]
async fn a_draining_server_says_goodbye_and_finishes() {
    let readiness = Readiness::new();
    let limits = Limits::default().linger(SECOND);
    let (mut server, told) = waiting(local().limits(limits).readiness(readiness.clone()));
    assert!(readiness.is_ready());
    let mut idle = server.connect().await;
    idle.send(get("/")).await;
    assert_eq!(idle.answer().await.header("connection"), None);
    let mut asked = server.connect().await;
    asked.send(get("/")).await;
    asked.answer().await;
    let mut busy = server.connect().await;
    busy.send(get("/wait")).await;
    let mut streams = H2::connect(&server).await;
    streams.get(1, "/wait").await;
    streams.get(3, "/").await;
    streams.outcome(3).await;

    let since = Instant::now();
    server.handle.drain();
    assert!(server.handle.is_draining());
    until(|| !readiness.is_ready()).await;
    // An idle connection that asks in time is answered, and told to go.
    asked.send(get("/")).await;
    let answer = asked.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    asked.assert_closed().await;
    // So is a new one.
    assert_eq!(server.ask(get("/")).await.header("connection"), Some("close"));
    while streams.goodbyes.is_empty() {
        assert!(streams.step().await, "it says goodbye before it closes");
    }
    assert_eq!(streams.goodbyes[0].1, 0, "not an error");
    idle.assert_closed().await;
    assert!(since.elapsed() + Duration::from_millis(100) >= SECOND, "{:?}", since.elapsed());

    told.notify_waiters();
    let answer = busy.answer().await;
    assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
    assert_eq!(streams.outcome(1).await.body, b"done");
    streams.read_to_end().await;
    server.ended().await;
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    assert_eq!(server.stats.refused(), 0, "nothing was cut off");
}

#[tokio::test]
async fn what_still_runs_at_the_deadline_is_cut_off() {
    let limits = Limits::default().linger(Duration::ZERO).drain(SECOND);
    let (mut server, _told) = waiting(local().limits(limits));
    let mut busy = server.connect().await;
    busy.send(get("/wait")).await;
    let mut streams = H2::connect(&server).await;
    streams.get(1, "/wait").await;
    until(|| server.stats.connections() == 2).await;
    let since = Instant::now();
    server.handle.drain();
    assert!(busy.next().await.is_none());
    streams.read_to_end().await;
    server.ended().await;
    assert!(since.elapsed() >= SECOND && since.elapsed() < 8 * SECOND, "{:?}", since.elapsed());
    assert_eq!(server.stats.refused(), 2);
}

#[tokio::test]
async fn closing_waits_for_nobody() {
    let (mut server, _told) = waiting(local());
    let mut busy = server.connect().await;
    busy.send(get("/wait")).await;
    until(|| server.stats.connections() == 1).await;
    server.handle.close();
    assert!(busy.next().await.is_none());
    server.ended().await;
}

#[tokio::test]
async fn a_signal_of_the_application_drains_too() {
    let leave = Arc::new(Notify::new());
    let left = Arc::clone(&leave);
    let limits = Limits::default().linger(Duration::ZERO);
    let mut server = start(local().limits(limits).drain_on(async move { left.notified().await }));
    server.assert_well().await;
    leave.notify_one();
    server.ended().await;
}

/// Gives the connection to an echo, which says goodbye when the server drains if it is polite.
fn upgrade(
    mut request: Request<Body>,
    polite: bool,
    revocation: Option<Revocation>,
) -> Response<Body> {
    let draining = request.extensions().get().and_then(Connection::draining).unwrap().clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let mut bytes = [0; 100];
        loop {
            tokio::select! {
                read = stream.read(&mut bytes) => match read {
                    Ok(count) if count > 0 => {
                        if stream.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                () = draining.draining(), if polite => {
                    drop(stream.write_all(b"goodbye").await);
                    return;
                }
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", http::HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", http::HeaderValue::from_static("echo"));
    if let Some(revocation) = revocation {
        response.extensions_mut().insert(revocation);
    }
    response
}

async fn upgraded(server: &Running, path: &str) -> Raw<TcpStream> {
    let mut client = server.connect().await;
    client
        .send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 101);
    client.send("hello").await;
    client.assert_says("hello").await;
    client
}

impl Raw<TcpStream> {
    async fn assert_says(&mut self, want: &str) {
        let mut bytes = vec![0; want.len()];
        within(self.stream.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
    }
}

#[tokio::test]
async fn upgraded_connections_are_told_and_then_cut_off() {
    let limits = Limits::default().linger(Duration::ZERO).drain(SECOND).idle_time(SECOND);
    let mut server = start_with(local().limits(limits), |request: Request<Body>| async {
        let polite = request.uri().path() == "/polite";
        Ok(upgrade(request, polite, None))
    });
    let mut polite = upgraded(&server, "/polite").await;
    let mut stubborn = upgraded(&server, "/stubborn").await;
    // The limits of HTTP are not theirs.
    assert_eq!(stubborn.rest(2 * SECOND).await, (Vec::new(), End::Open));
    let since = Instant::now();
    server.handle.drain();
    polite.assert_says("goodbye").await;
    polite.assert_closed().await;
    stubborn.assert_closed().await;
    server.ended().await;
    assert!(since.elapsed() >= SECOND, "{:?}", since.elapsed());
}

#[tokio::test]
async fn an_upgraded_connection_ends_with_the_identity_that_opened_it() {
    let revocation = Revocation::new();
    let revoked = revocation.clone();
    let server = start_with(local(), move |request: Request<Body>| {
        let revocation = (request.uri().path() == "/hers").then(|| revoked.clone());
        async { Ok(upgrade(request, false, revocation)) }
    });
    let mut hers = upgraded(&server, "/hers").await;
    let mut his = upgraded(&server, "/his").await;
    revocation.revoke();
    hers.assert_closed().await;
    his.send("still here").await;
    his.assert_says("still here").await;
}

#[tokio::test]
async fn a_unix_socket_is_served_and_removed() {
    let folder = Folder::new("unix");
    let path = folder.0.join("shop.sock");
    for round in 0..2 {
        if round == 1 {
            // What a server that was killed left behind is no obstacle.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        let limits = Limits::default().linger(Duration::ZERO);
        let mut server = start(Server::bind(format!("unix:{}", path.display())).limits(limits));
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        let mut client = Raw::new(UnixStream::connect(&path).await.unwrap());
        client.send(get("/")).await;
        assert_eq!(client.answer().await.text(), "hello");
        let errors =
            Server::bind(format!("unix:{}", path.display())).open().unwrap_err().to_string();
        assert!(errors.contains("shop.sock") && errors.contains("another program"), "{errors}");
        server.handle.drain();
        server.ended().await;
        assert!(!path.exists());
    }
}

/// A server that can hand its sockets over, and answers with its name.
fn heir(name: &'static str, place: &str, path: &std::path::Path) -> Running {
    let limits = Limits::default().linger(Duration::from_millis(300));
    let server = Server::bind(place).limits(limits).handover(path);
    let (handle, stats) = (server.handle(), server.stats());
    let service =
        tower::service_fn(move |_: Request<Body>| async move { Ok::<_, Infallible>(text(name)) });
    start_open(server.open().unwrap(), handle, stats, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_go_from_one_server_to_the_next_and_nobody_is_refused() {
    let folder = Folder::new("handover");
    let path = folder.0.join("handover.sock");
    let mut server = heir("0", "http://127.0.0.1:0", &path);
    let address = server.address;
    let place = format!("http://{address}");
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
            tokio::spawn(async move {
                while !over.load(SeqCst) {
                    let mut client =
                        Raw::new(TcpStream::connect(address).await.expect("nobody is refused"));
                    // As many requests as the server lets it have.
                    for _ in 0..10 {
                        client.send(get("/")).await;
                        let answer = client.answer().await;
                        assert_eq!(answer.status, 200);
                        asked.fetch_add(1, SeqCst);
                        if answer.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for name in ["1", "2", "3"] {
        until(|| path.exists()).await;
        let before = asked.load(SeqCst);
        until(|| asked.load(SeqCst) > before + 50).await;
        let next = heir(name, &place, &path);
        server.ended().await;
        server = next;
        let mut client = server.connect().await;
        client.send(get("/")).await;
        assert_eq!(client.answer().await.text(), name);
    }
    over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(path.exists(), "the last one offers them to the next");
    server.handle.drain();
    server.ended().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_server_that_is_not_ready_changes_nothing() {
    let folder = Folder::new("handover-waits");
    let path = folder.0.join("handover.sock");
    let mut server = heir("first", "http://127.0.0.1:0", &path);
    let place = format!("http://{}", server.address);
    until(|| path.exists()).await;

    // One that gives up before it serves.
    drop(Server::bind(place.as_str()).handover(&path).open().unwrap());
    assert_eq!(server.ask(get("/")).await.text(), "first");

    let readiness = Readiness::new();
    let warm = readiness.expect("warm");
    let next = Server::bind(place.as_str()).handover(&path).readiness(readiness);
    let (handle, stats) = (next.handle(), next.stats());
    let service =
        tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(text("second")) });
    let next = start_open(next.open().unwrap(), handle, stats, service);
    for _ in 0..10 {
        assert_eq!(server.ask(get("/")).await.text(), "first");
    }
    assert!(!server.handle.is_draining());
    warm.ready();
    server.ended().await;
    assert_eq!(next.ask(get("/")).await.text(), "second");
}
