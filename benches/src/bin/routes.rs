//! What routes cost, a few and many: making the table, what it holds, and finding one of them. Run by `cargo xtask bench routes`.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response};
use portcullis::prelude::*;
use portcullis::{Body, Clock};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: u32 = 300_000;

/// An endpoint that does nothing.
#[derive(Clone)]
struct Nothing;

impl Service<Request<Body>> for Nothing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Body::empty())))
    }
}

fn main() {
    for count in [10, 5_000] {
        let clock = Clock::system();
        let region = Region::new(ALLOCATOR);
        let since = clock.now();
        let mut builder = Routes::builder();
        for number in 0..count {
            // A thousand hosts, and paths of every kind.
            let host = format!("h{}.example", number % 1_000);
            let template = match number % 3 {
                0 => format!("/service-{number}/{{*rest}}"),
                1 => format!("/service-{number}/items/{{id}}"),
                _ => format!("/service-{number}"),
            };
            builder = builder.any(&template, Nothing).host(&host).public();
        }
        let routes = builder.build().expect("the routes are sound");
        let built = clock.now() - since;
        let stats = region.change();
        let held = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        let with = time(&clock, &mut EdgeLayer::new().layer(routes.layer().layer(Nothing)), count);
        let without = time(&clock, &mut EdgeLayer::new().layer(Nothing), count);
        let look_up = with.saturating_sub(without);
        println!(
            "{count} routes: {:.1} ms, {} KiB, {} ns",
            built.as_secs_f64() * 1e3,
            held / 1024,
            look_up.as_nanos()
        );
    }
}

/// The time of one request.
fn time<S: Service<Request<Body>>>(clock: &Clock, service: &mut S, count: u32) -> Duration {
    let request = |turn: u32| {
        let number = turn.wrapping_mul(2_654_435_761) % count;
        let path = match number % 3 {
            0 => format!("/service-{number}/a/b"),
            1 => format!("/service-{number}/items/7"),
            _ => format!("/service-{number}"),
        };
        let host = format!("h{}.example", number % 1_000);
        let request = Request::builder().uri(path).header("host", host).body(Body::empty());
        request.expect("a request")
    };
    let requests: Vec<_> = (0..REQUESTS).map(request).collect();
    let since = clock.now();
    for request in requests {
        drop(service.call(request));
    }
    (clock.now() - since) / REQUESTS
}
