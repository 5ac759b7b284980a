//! A panic costs one request: not its connection, not the server (R26).
use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::Body;
use tower::Service;

use crate::support::{Raw, get, local, start_open, text};

/// Panics where the path says.
#[derive(Clone)]
struct Fragile {
    ready: u32,
}

/// An answer, or a panic when it is waited for.
enum Answering {
    Ready(Ready<Result<Response<Body>, Infallible>>),
    Panics,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(ready) => std::pin::Pin::new(ready).poll(cx),
            Self::Panics => panic!("in the future"),
        }
    }
}

impl Service<Request<Body>> for Fragile {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        assert!(self.ready != 1, "in poll_ready");
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> Answering {
        self.ready = self.ready.saturating_sub(1);
        match request.uri().path() {
            "/call" => panic!("in call"),
            "/future" => Answering::Panics,
            // The second request from here on finds a service that panics before it is ready.
            "/ready" => {
                self.ready = 1;
                Answering::Ready(std::future::ready(Ok(text("from here on"))))
            }
            _ => Answering::Ready(std::future::ready(Ok(text("well")))),
        }
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let server = local();
    let (handle, stats) = (server.handle(), server.stats());
    let server = start_open(server.open().unwrap(), handle, stats, Fragile { ready: 0 });
    let mut client = server.connect().await;
    for (path, want) in [
        ("/", 200),
        ("/call", 500),
        ("/", 200),
        ("/future", 500),
        ("/", 200),
        ("/ready", 200),
        ("/in-poll-ready", 500),
        ("/in-poll-ready", 500),
    ] {
        client.send(get(path)).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, want, "{path}");
        if want == 500 {
            answer.assert_problem(500, "internal-error");
            assert!(
                !answer.text().contains("in "),
                "what went wrong stays here: {}",
                answer.text()
            );
        }
    }
    let mut another = Raw::new(tokio::net::TcpStream::connect(server.address).await.unwrap());
    another.send(get("/")).await;
    assert_eq!(another.answer().await.text(), "well", "each connection has its own service");
    assert_eq!(server.stats.refused(), 4);
}
