//! What an idle connection holds: hyper's buffers, which are 18 KiB, are let go of.
use std::alloc::System;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_core::Body;
use portcullis_server::Server;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::service_fn;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 200;
/// It is about 6.5 KiB, the client's part included.
const LIMIT: usize = 8 << 10;

async fn hello(_: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

#[tokio::test]
async fn an_idle_connection_holds_little() {
    let server = Server::bind("http://127.0.0.1:0").open().unwrap();
    let address = server.addresses()[0];
    let running = tokio::spawn(server.serve(service_fn(hello)));
    let region = Region::new(ALLOCATOR);
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 512];
        assert!(client.read(&mut answer).await.unwrap() > 0);
        clients.push(client.into_std().unwrap());
    }
    let mut held = usize::MAX;
    for _ in 0..100 {
        let counted = region.change();
        held = counted.bytes_allocated.saturating_sub(counted.bytes_deallocated) / CONNECTIONS;
        if held <= LIMIT {
            break;
        }
        // Until the next sweep.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(held <= LIMIT, "{held} bytes a connection");
    drop(clients);
    running.abort();
}
