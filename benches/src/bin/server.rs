//! What the server costs beside bare hyper: requests over loopback TCP on one thread, with allocations counted and the memory of
//! idle connections. Run by `cargo xtask bench server`, which counts the instructions and system calls.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis::Body;
use portcullis::server::{Limits, Server};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VARIANTS: [&str; 4] =
    ["bare hyper, GET", "server, GET", "bare hyper, POST of 1 KiB", "server, POST of 1 KiB"];

/// A request as a browser's API call has it.
const GET: &str = "GET /books/7 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    accept: application/json\r\naccept-encoding: gzip, br\r\naccept-language: en\r\ncookie: a=b\r\n\r\n";
const POST: &str = "POST /books HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/json\r\n\
    accept: application/json\r\ncontent-length: 1024\r\n\r\n";

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return println!("there is no runtime");
    };
    match words.as_slice() {
        ["list"] => VARIANTS.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => match count.parse() {
            Ok(count) => runtime.block_on(run(variant, count)),
            Err(error) => println!("`{count}` is no number: {error}"),
        },
        ["idle"] => runtime.block_on(idle()),
        _ => println!("usage: server list | run VARIANT COUNT | idle"),
    }
}

async fn run(variant: &str, count: u32) {
    let address = if variant.starts_with("bare") { hyper_alone() } else { server() };
    let request =
        if variant.contains("GET") { GET.to_owned() } else { POST.to_owned() + &"x".repeat(1024) };
    let mut client = connect(address).await;
    exchange(&mut client, &request).await;
    let region = Region::new(ALLOCATOR);
    for _ in 0..count {
        exchange(&mut client, &request).await;
    }
    let counted = region.change();
    println!("allocations {}", counted.allocations);
    println!("bytes {}", counted.bytes_allocated);
}

/// The memory that idle connections hold: in use, not what the allocator keeps for later.
async fn idle() {
    const MANY: usize = 2_000;
    for (name, address) in [("bare hyper", hyper_alone()), ("server", server())] {
        for asks in [false, true] {
            let region = Region::new(ALLOCATOR);
            let mut clients = Vec::with_capacity(MANY);
            for _ in 0..MANY {
                let mut client = connect(address).await;
                if asks {
                    exchange(&mut client, GET).await;
                }
                clients.push(client.into_std());
            }
            // Idle connections let go of their buffers after a sweep or two.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let counted = region.change();
            let held = counted.bytes_allocated.saturating_sub(counted.bytes_deallocated);
            let what = if asks { "asked once" } else { "sent nothing" };
            println!("{name}, {what}: {} bytes", held / MANY);
            drop(clients);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap_or_else(|error| unreachable!("loopback: {error}"))
}

/// One request and its answer, which fits into one read.
async fn exchange(client: &mut TcpStream, request: &str) {
    let mut answer = [0; 2048];
    let sent = client.write_all(request.as_bytes()).await;
    let read = client.read(&mut answer).await;
    let ok = answer.starts_with(b"HTTP/1.1 200");
    assert!(sent.is_ok() && read.is_ok() && ok, "the benchmark measures what succeeds");
}

/// Each on a thread of its own, as the server has it with one worker.
fn hyper_alone() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let listener = listener.unwrap_or_else(|error| unreachable!("loopback: {error}"));
    let address = listener.local_addr().unwrap_or_else(|error| unreachable!("loopback: {error}"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(accept_for_hyper(listener))
    });
    address
}

async fn accept_for_hyper(listener: std::net::TcpListener) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer_of_hyper))
            .with_upgrades();
        tokio::spawn(connection);
    }
}

async fn answer_of_hyper(
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    drop(request.into_body().collect().await?);
    Ok(Response::new(Full::new(Bytes::from_static(b"a book"))))
}

fn server() -> SocketAddr {
    let limits = Limits::default().connections_per_address(10_000);
    let server = Server::bind("127.0.0.1:0").workers(NonZeroUsize::MIN).limits(limits).open();
    let server = server.unwrap_or_else(|errors| unreachable!("loopback: {errors}"));
    let address = server.addresses().first().copied();
    std::thread::spawn(|| server.run(|_| Ok::<_, Infallible>(tower::service_fn(answer))));
    address.unwrap_or_else(|| unreachable!("it listens on one address"))
}

async fn answer(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request.into_body().collect().await);
    Ok(Response::new(Full::new(Bytes::from_static(b"a book"))))
}
