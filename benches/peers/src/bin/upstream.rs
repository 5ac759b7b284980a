//! The server behind every proxy: answers as many bytes as the path says.
use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).expect("an address");
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free address");
    let zeros = Bytes::from(vec![b'0'; 8 << 20]);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let zeros = zeros.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let size: usize = request.uri().path()[1..].parse().unwrap_or(1024);
            let body = zeros.slice(..size.min(zeros.len()));
            async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
