//! What the application gets wrong, and what only looks like it.
use std::convert::Infallible;
use std::io;

use http::{Request, Response, StatusCode};
use portcullis_core::Body;
use portcullis_server::Limits;
use tower::service_fn;

use crate::support::{get, local, post, start_open, start_with, text};

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

/// Takes every failure for its own.
async fn clumsy(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let read = portcullis_testkit::collect(request.into_body()).await;
    let mut response = text("whatever");
    if read.is_err() {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

#[tokio::test]
async fn what_a_client_did_to_its_body_is_never_a_5xx() {
    let server = start_with(local().limits(Limits::default().body_bytes(10)), clumsy);
    let chunked = |body: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    for (request, status, slug) in [
        (post("/", "eleven byte"), 413, "body-too-large"),
        (chunked("b\r\neleven byte\r\n0\r\n\r\n"), 413, "body-too-large"),
        (chunked("zz\r\n"), 400, "body-malformed"),
        (chunked("5\r\nhelloX"), 400, "body-malformed"),
    ] {
        server.ask(&request).await.assert_problem(status, slug);
    }
    assert_eq!(server.ask(post("/", "ten bytes!")).await.text(), "whatever");
}
