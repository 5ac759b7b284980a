//! The application: a function from a request to an answer.
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, LINK, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use portcullis::problem::kinds::{METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND};
use portcullis::{Body, Connection, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How large the pieces of a streamed answer are.
const PIECE: usize = 16 << 10;

/// Answers one request.
///
/// # Errors
/// None: whatever goes wrong is an answer.
pub async fn answer(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method(), path.as_str()) {
        (&Method::OPTIONS, _) => no_content(),
        (&Method::POST, "/" | "/echo") => echo(request).await,
        (&Method::GET | &Method::HEAD, "/") => text("hello\n"),
        (&Method::GET, "/slow") => {
            tokio::time::sleep(Duration::from_millis(number(&request, "ms"))).await;
            text("slow\n")
        }
        (&Method::GET, "/stream") => stream(number(&request, "bytes")),
        (&Method::GET, "/hints") => hints(&request),
        (&Method::GET, "/upgrade") => upgrade(&mut request),
        (&Method::GET, "/panic") => panicking(),
        (_, "/" | "/echo" | "/slow" | "/stream" | "/panic") => {
            Problem::new(METHOD_NOT_ALLOWED).into_response()
        }
        _ => Problem::new(ROUTE_NOT_FOUND).into_response(),
    })
}

fn text(text: &'static str) -> Response<Body> {
    Response::new(Body::from(text))
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The number behind `name=` in the query; zero where there is none.
fn number(request: &Request<Body>, name: &str) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = values.filter(|(key, _)| *key == name);
    values.next().and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Sends back what came. A body that is too large, too slow or broken says by itself what it is.
async fn echo(request: Request<Body>) -> Response<Body> {
    match request.into_body().collect().await {
        Ok(body) => Response::new(Body::from(body.to_bytes())),
        Err(error) => match portcullis::BodyError::find(&*error) {
            Some(error) => error.problem().into_response(),
            None => Problem::new(portcullis::problem::kinds::BODY_MALFORMED).into_response(),
        },
    }
}

/// Bytes as they are asked for, a piece at a time.
fn stream(bytes: u64) -> Response<Body> {
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let pieces = std::iter::from_fn(move || {
        let piece = PIECE.min(left);
        left -= piece;
        (piece > 0).then(|| Ok::<_, Infallible>(http_body::Frame::data(ZEROS.slice(..piece))))
    });
    Response::new(Body::new(StreamBody::new(Pieces(pieces))))
}

static ZEROS: Bytes = Bytes::from_static(&[b'0'; PIECE]);

/// An iterator as a stream that is always ready.
struct Pieces<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Pieces<I> {
    type Item = I::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// Tells the client what it will need, ahead of the answer.
fn hints(request: &Request<Body>) -> Response<Body> {
    let informational = request.extensions().get().and_then(Connection::informational);
    if let Some(informational) = informational {
        let mut early = Response::new(());
        *early.status_mut() = StatusCode::EARLY_HINTS;
        early.headers_mut().insert(LINK, HeaderValue::from_static("</style.css>; rel=preload"));
        informational.send(early);
    }
    text("hinted\n")
}

/// Gives the connection to a protocol of our own: every byte comes back, until the client or the server is done.
fn upgrade(request: &mut Request<Body>) -> Response<Body> {
    let wanted = request.headers().get(UPGRADE).is_some_and(|protocol| protocol == "echo");
    if !wanted {
        return Problem::new(portcullis::problem::kinds::REQUEST_INVALID).into_response();
    }
    let draining = request.extensions().get().and_then(Connection::draining).cloned();
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut bytes = [0; 1024];
        let goodbye = async {
            match draining {
                Some(draining) => draining.draining().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(goodbye);
        loop {
            tokio::select! {
                read = stream.read(&mut bytes) => match read {
                    Ok(count) if count > 0 => {
                        let echoed = bytes.get(..count).unwrap_or_default();
                        if stream.write_all(echoed).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                () = &mut goodbye => {
                    drop(stream.write_all(b"goodbye\n").await);
                    drop(stream.shutdown().await);
                    return;
                }
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    response
}

#[expect(clippy::panic, reason = "it shows that a panic costs one request and no more")]
fn panicking() -> Response<Body> {
    panic!("asked to panic")
}
