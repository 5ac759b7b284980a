//! What the layers around a client cost when nothing goes wrong: calls in one process, to a client that answers after it has been waited
//! for once. Run by `cargo xtask bench resilience`, which counts the instructions.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::BodyExt;
use portcullis::Body;
use portcullis::resilience::{
    Breaker, BreakerLayer, Bulkhead, BulkheadLayer, HedgeLayer, RetryLayer, TimeoutLayer,
};
use portcullis_benches::{command, measure};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use axum::http::{HeaderValue, Request, Response, Uri};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each with the layers of the one before, from the client outwards.
const VARIANTS: [&str; 7] = [
    "a client",
    "+ a limit on each try",
    "+ breaker",
    "+ hedge",
    "+ retries",
    "+ bulkhead",
    "+ a limit on all tries",
];

fn main() {
    command("resilience", &VARIANTS, run);
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    tokio::task::yield_now().await;
    Ok(Response::new(Body::from("a book")))
}

fn run(variant: &str, count: u32) {
    let client = service_fn(answer);
    let limit = |seconds| TimeoutLayer::new(Duration::from_secs(seconds));
    let breaker = BreakerLayer::new(Breaker::default());
    let hedge = HedgeLayer::new(Duration::from_secs(1));
    let (retries, bulkhead) = (RetryLayer::new(2), BulkheadLayer::new(Bulkhead::new(100)));
    let stack = ServiceBuilder::new();
    match variant {
        "a client" => measured(&client, count),
        "+ a limit on each try" => measured(&limit(5).layer(client), count),
        "+ breaker" => measured(&stack.layer(breaker).layer(limit(5)).service(client), count),
        "+ hedge" => {
            measured(&stack.layer(hedge).layer(breaker).layer(limit(5)).service(client), count);
        }
        "+ retries" => {
            let stack = stack.layer(retries).layer(hedge).layer(breaker).layer(limit(5));
            measured(&stack.service(client), count);
        }
        "+ bulkhead" => {
            let stack = stack.layer(bulkhead).layer(retries).layer(hedge);
            measured(&stack.layer(breaker).layer(limit(5)).service(client), count);
        }
        "+ a limit on all tries" => {
            let stack = stack.layer(limit(20)).layer(bulkhead).layer(retries).layer(hedge);
            measured(&stack.layer(breaker).layer(limit(5)).service(client), count);
        }
        other => println!("there is no variant `{other}`"),
    }
}

fn request() -> Request<Body> {
    // As from a server's shared buffer: cloning a part of it allocates nothing.
    let request = Request::get(Uri::from_static("/books/7"))
        .header("host", HeaderValue::from_static("shop.example"))
        .header("user-agent", HeaderValue::from_static("bench"))
        .header("accept", HeaderValue::from_static("application/json"));
    request.body(Body::empty()).unwrap_or_default()
}

fn measured<S>(service: &S, count: u32)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    measure(ALLOCATOR, count, async || one(service).await);
}

async fn one<S>(service: &S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request()).await;
    assert_eq!(response.status(), 200, "the benchmark measures what succeeds");
    drop(response.into_body().collect().await);
}
