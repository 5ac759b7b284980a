//! The simplest proxy: hyper's server, and the client of hyper-util with its pool.
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1);
    let (listen, upstream) = (words.next().expect("an address"), words.next().expect("an upstream"));
    let upstream: SocketAddr = upstream.parse().expect("an address");
    let listener = tokio::net::TcpListener::bind(listen).await.expect("a free address");
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let client = client.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri: Uri = format!("http://{upstream}{path}").parse().expect("a path");
            *request.uri_mut() = uri;
            client.request(request)
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
