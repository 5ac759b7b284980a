//! The end of a server, and the beginning of the next one.
use std::convert::Infallible;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
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
async fn operators_can_watch_a_drain_to_its_end() {
    let limits = Limits::default().linger(Duration::ZERO);
    let server = Server::bind("http://127.0.0.1:0").limits(limits);
    let side = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(text("side")) });
    let (handle, stats) = (server.handle(), server.stats());
    let open = server.side("127.0.0.1:0", side).open().unwrap();
    let side = *open.addresses().last().unwrap();
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let service = tower::service_fn(move |_: Request<Body>| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok::<_, Infallible>(text("done"))
        }
    });
    let mut server = start_open(open, handle, stats, service);
    let mut busy = server.connect().await;
    busy.send(get("/")).await;
    until(|| server.stats.connections() == 1).await;
    server.handle.drain();
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    let mut watching = Raw::new(TcpStream::connect(side).await.unwrap());
    watching.send(get("/")).await;
    assert_eq!(watching.answer().await.text(), "side");
    told.notify_one();
    assert_eq!(busy.answer().await.text(), "done");
    server.ended().await;
    assert!(TcpStream::connect(side).await.is_err());
}

#[tokio::test]
async fn who_has_just_connected_may_still_ask() {
    let limits = Limits::default().linger(Duration::ZERO);
    let mut server = start(local().limits(limits));
    let mut client = server.connect().await;
    until(|| server.stats.connections() == 1).await;
    server.handle.drain();
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    client.send(get("/")).await;
    assert_eq!(client.answer().await.text(), "hello");
    server.ended().await;
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
fn heir(name: &'static str, place: &str, path: &Path) -> Running {
    let limits = Limits::default().linger(Duration::from_millis(300));
    named(name, Server::bind(place).limits(limits).handover(path))
}

/// Answers everything with its name.
fn named(name: &'static str, server: Server) -> Running {
    start_with(server, move |_| async move { Ok(text(name)) })
}

/// What answers at a Unix socket.
async fn name_at(path: &Path) -> String {
    let mut client = Raw::new(UnixStream::connect(path).await.unwrap());
    client.send(get("/")).await;
    client.answer().await.text().to_owned()
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
    let next = named("second", next);
    for _ in 0..10 {
        assert_eq!(server.ask(get("/")).await.text(), "first");
    }
    assert!(!server.handle.is_draining());
    warm.ready();
    server.ended().await;
    assert_eq!(next.ask(get("/")).await.text(), "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_server_that_fails_takes_no_socket_away() {
    let folder = Folder::new("handover-fails");
    let (path, place) = (folder.0.join("handover.sock"), folder.0.join("shop.sock"));
    let own = folder.0.join("own.sock");
    let listen = format!("unix:{}", place.display());
    let mut server = heir("first", &listen, &path);
    until(|| path.exists()).await;

    // One whose service cannot be made.
    let next = Server::bind(listen.as_str()).handover(&path).open().unwrap();
    let failed = tokio::task::spawn_blocking(move || {
        next.run(|_| {
            Err::<tower::util::BoxCloneSyncService<_, Response<Body>, Infallible>, _>("no")
        })
    });
    assert!(failed.await.unwrap().is_err());
    assert_eq!(name_at(&place).await, "first");

    // One that is told to end before it is ready. What it opened itself it takes along.
    let readiness = Readiness::new();
    let warm = readiness.expect("warm");
    let next = Server::bind(listen.as_str()).listen(format!("unix:{}", own.display()));
    let mut next = named("second", next.handover(&path).readiness(readiness));
    assert!(own.exists());
    next.handle.close();
    next.ended().await;
    assert!(!own.exists());
    assert_eq!(name_at(&place).await, "first");
    drop(warm);

    // One that is ready has it then, to the end.
    let mut next = heir("third", &listen, &path);
    server.ended().await;
    assert_eq!(name_at(&place).await, "third");
    next.handle.drain();
    next.ended().await;
    assert!(!place.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_while_the_next_one_warms_up_leaves_it_the_files() {
    let folder = Folder::new("handover-crossed");
    let (path, place) = (folder.0.join("handover.sock"), folder.0.join("shop.sock"));
    let listen = format!("unix:{}", place.display());
    let mut server = heir("first", &listen, &path);
    until(|| path.exists()).await;
    let readiness = Readiness::new();
    let warm = readiness.expect("warm");
    let limits = Limits::default().linger(Duration::ZERO);
    let next = Server::bind(listen.as_str()).limits(limits).handover(&path).readiness(readiness);
    let mut next = named("second", next);
    // A first answer shows that it has been given the sockets.
    assert_eq!(name_at(&place).await, "first");
    server.handle.drain();
    server.ended().await;
    warm.ready();
    assert_eq!(name_at(&place).await, "second");
    next.handle.drain();
    next.ended().await;
    assert!(!place.exists(), "they are its own by then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_answered_by_the_server_that_serves() {
    let folder = Folder::new("handover-side");
    let path = folder.0.join("handover.sock");
    let side = |name: &'static str| {
        tower::service_fn(move |_: Request<Body>| async move { Ok::<_, Infallible>(text(name)) })
    };
    let ready = Readiness::new();
    let first = local().readiness(ready.clone()).handover(&path).side("127.0.0.1:0", side("first"));
    let (handle, stats) = (first.handle(), first.stats());
    let open = first.open().unwrap();
    let addresses = open.addresses();
    let mut server = start_open(open, handle, stats, side("app"));
    until(|| path.exists()).await;

    let readiness = Readiness::new();
    let warm = readiness.expect("warm");
    let next = Server::bind(format!("http://{}", addresses[0]));
    let next = next.handover(&path).readiness(readiness);
    let next = next.side(addresses[1], side("second")).side("127.0.0.1:0", side("of its own"));
    let (handle, stats) = (next.handle(), next.stats());
    let open = next.open().unwrap();
    let own = open.addresses()[2];
    let next = start_open(open, handle, stats, side("app"));
    let ask = |address| async move {
        let mut client = Raw::new(TcpStream::connect(address).await.unwrap());
        client.send(get("/")).await;
        client.answer().await.text().to_owned()
    };
    for _ in 0..20 {
        assert_eq!(ask(addresses[1]).await, "first");
    }
    assert_eq!(ask(own).await, "of its own", "which nobody else answers");
    warm.ready();
    server.ended().await;
    assert_eq!(ask(addresses[1]).await, "second");
    assert!(
        ready.is_ready(),
        "the address is served, whoever asks the old one by an open connection"
    );
    drop(next);
}
