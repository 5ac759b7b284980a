//! HTTP/1.1 and HTTP/2 on both sides, in every combination.
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{Serving, TempFile, within};

type Pieces =
    StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, hyper::Error>>>>;

/// Pieces without a length, and a trailer behind them.
fn pieces(count: usize, trailer: &'static str) -> Pieces {
    let piece = |_| Ok(Frame::data(Bytes::from(vec![b'a'; 1_000])));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static(trailer));
    let all: Vec<_> = (0..count).map(piece).chain([Ok(Frame::trailers(trailers))]).collect();
    StreamBody::new(tokio_stream::iter(all))
}

/// Says how it was asked, and sends as many pieces as came, with trailers of its own.
async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, hyper::Error> {
    let (head, body) = request.into_parts();
    let came = body.collect().await?;
    let trailer = came.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
    let length = came.to_bytes().len();
    let answer = Response::builder()
        .header("x-version", format!("{:?}", head.version))
        .header("x-method", head.method.as_str())
        .header("x-length", length)
        .header(
            "x-host",
            head.uri.authority().map_or_else(
                || head.headers["host"].clone(),
                |host| HeaderValue::try_from(host.as_str()).unwrap(),
            ),
        )
        .header("x-trailer", trailer.unwrap_or(HeaderValue::from_static("none")))
        .header("trailer", "x-sum");
    Ok(answer.body(pieces(length / 1_000, "of the answer")).unwrap())
}

/// A server of both, in clear or over TLS.
async fn server(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let service = service_fn(answer);
                // A connection that ends is no matter here.
                drop(match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => return,
                    },
                    None => server.serve_connection(TokioIo::new(stream), service).await,
                });
            });
        }
    });
    address
}

fn tls(certified: &CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Sends one request over this version, and answers the head, how long the body was, and the trailers.
async fn ask(
    address: SocketAddr,
    version: Version,
    method: &str,
    count: usize,
) -> (http::response::Parts, usize, Option<HeaderMap>) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let request =
        Request::builder().method(method).header("te", "trailers").header("trailer", "x-sum");
    let body = pieces(count, "of the question");
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = request.uri("http://shop.example/a?b").body(body).unwrap();
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = request.uri("/a?b").header("host", "shop.example");
        // A client of hyper says so by itself only for methods that usually have a body.
        let request = request.header("transfer-encoding", "chunked");
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (head, body.to_bytes().len(), trailers)
}

#[tokio::test]
async fn each_side_may_speak_either() {
    let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (plain, secure) = (server(None).await, server(Some(tls(&certified))).await);
    let ca = TempFile::new("ca.pem", &certified.cert.pem());
    let ca = format!("ca = \"{}\"\n", ca.0.display());
    for (url, more, behind) in [
        (format!("http://{plain}"), String::new(), "HTTP/1.1"),
        (format!("h2c://{plain}"), String::new(), "HTTP/2.0"),
        (format!("https://localhost:{}", secure.port()), ca.clone(), "HTTP/2.0"),
        (
            format!("https://localhost:{}", secure.port()),
            format!("{ca}http1_only = true\n"),
            "HTTP/1.1",
        ),
    ] {
        let gateway = Serving::start(&format!(
            "[server]\nlisten = [\"http://127.0.0.1:0\"]\n[telemetry]\naccess_log = \"off\"\n\
             [upstreams.b]\nservers = [\"{url}\"]\n{more}\
             [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"b\"\n"
        ))
        .await;
        for front in [Version::HTTP_11, Version::HTTP_2] {
            for (method, count) in [("GET", 0), ("POST", 1), ("POST", 300), ("PUT", 7)] {
                let what = format!("{front:?} {method} {count} to {url}");
                let (head, length, trailers) =
                    within(ask(gateway.address, front, method, count)).await;
                assert_eq!((head.status.as_u16(), head.version), (200, front), "{what}");
                let said = |name: &str| head.headers[name].to_str().unwrap().to_owned();
                assert_eq!(said("x-version"), behind, "{what}");
                assert_eq!(said("x-method"), method, "{what}");
                assert_eq!(said("x-host"), "shop.example", "{what}");
                assert_eq!(said("x-length"), (count * 1_000).to_string(), "{what}");
                assert_eq!(said("x-trailer"), "of the question", "{what}");
                assert_eq!(length, count * 1_000, "{what}");
                assert_eq!(trailers.unwrap()["x-sum"], "of the answer", "{what}");
            }
        }
    }
}
