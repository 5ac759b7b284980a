//! What the application gets wrong, and what only looks like it.
use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use portcullis_core::Body;
use portcullis_server::Limits;
use tokio::io::AsyncReadExt;
use tower::service_fn;

use crate::support::{get, local, post, start_open, start_with, text, within};

#[tokio::test]
async fn an_error_of_the_service_is_a_500_that_keeps_its_cause() {
    let server = local();
    let (handle, stats) = (server.handle(), server.stats());
    let service = service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/" => Ok(text("well")),
            _ => Err(io::Error::other("the password of the store is wrong")),
        }
    });
    let server = start_open(server.open().unwrap(), handle, stats, service);
    let mut client = server.connect().await;
    client.send(get("/fails")).await;
    let answer = client.answer().await;
    answer.assert_problem(500, "internal-error");
    assert!(!answer.text().contains("password"), "{}", answer.text());
    client.send(get("/")).await;
    assert_eq!(client.answer().await.text(), "well", "the connection goes on");
}

/// Takes every failure for its own, or for bad input, as the path says.
async fn clumsy(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let failure = match request.uri().path() {
        "/server" => StatusCode::INTERNAL_SERVER_ERROR,
        "/input" => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    };
    let read = portcullis_testkit::collect(request.into_body()).await;
    let mut response = text("whatever");
    if read.is_err() {
        *response.status_mut() = failure;
    }
    Ok(response)
}

#[tokio::test]
async fn what_a_client_did_to_its_body_is_never_a_5xx() {
    let server = start_with(local().limits(Limits::default().body_bytes(10)), clumsy);
    let chunked = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    // Extractors that know nothing of limits answer 400.
    for path in ["/server", "/input"] {
        for (request, status, slug) in [
            (post(path, "eleven byte"), 413, "body-too-large"),
            (chunked(path, "b\r\neleven byte\r\n0\r\n\r\n"), 413, "body-too-large"),
        ] {
            server.ask(&request).await.assert_problem(status, slug);
        }
    }
    for body in ["zz\r\n", "5\r\nhelloX"] {
        server.ask(chunked("/server", body)).await.assert_problem(400, "body-malformed");
        let answer = server.ask(chunked("/input", body)).await;
        assert_eq!((answer.status, answer.text()), (400, "whatever"), "right by itself");
    }
    let answer = server.ask(post("/decides", "eleven byte")).await;
    assert_eq!((answer.status, answer.text()), (409, "whatever"), "a decision is left alone");
    assert_eq!(server.ask(post("/server", "ten bytes!")).await.text(), "whatever");
}

/// A body that breaks off behind its first piece.
struct Broken(bool);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        std::task::Poll::Ready(Some(if std::mem::replace(&mut self.0, true) {
            Err(io::Error::other("broken off"))
        } else {
            Ok(http_body::Frame::data(Bytes::from_static(b"half of it")))
        }))
    }
}

#[tokio::test]
async fn half_an_answer_is_not_taken_for_a_whole_one() {
    let server = start_with(local(), |_| async { Ok(Response::new(Body::new(Broken(false)))) });
    for version in ["1.0", "1.1"] {
        let mut client = server.connect().await;
        client.send(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n")).await;
        let mut read = Vec::new();
        let end = within(client.stream.read_to_end(&mut read)).await;
        match version {
            // Its end is that of the connection, so that must look like a mishap.
            "1.0" => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            _ => assert!(!read.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&read)),
        }
    }
}
