//! What the limit layer costs by itself: behind a layer that says who is calling, in front of a service that answers. Run by `cargo xtask bench limits`, which counts
//! the instructions.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;

use axum::http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use portcullis::prelude::*;
use portcullis::ratelimit::{Fields, Quota, at_once, per_hour};
use portcullis::{AuthState, Body, ClientAddr, Context, Identity};
use portcullis_benches::{command, measure};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VARIANTS: [&str; 9] = [
    "no layer",
    "by address, and answers say nothing about it",
    "by address",
    "by identity",
    "by identity, whose plan has its own",
    "by address, three bounds",
    "by address and by identity, two quotas",
    "by address, so many at once",
    "refused",
];

fn main() {
    command("limit-layer", &VARIANTS, run);
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

fn run(variant: &str, count: u32) {
    let much = || per_second(1_000_000);
    let ada = Identity::builder("https://id.example", "5f2a7c1e-ada").plan("pro").build();
    let known = MapRequestLayer::new(move |request| known(request, &ada));
    let end = service_fn(answer);
    let with = |quota: Quota| {
        let layer = RateLimitLayer::in_memory().everywhere(quota);
        measured(&known.layer(layer.layer(end)), variant, count);
    };
    match variant {
        "no layer" => measured(&known.layer(end), variant, count),
        "by address, and answers say nothing about it" => {
            let layer = RateLimitLayer::in_memory().everywhere(much()).fields(Fields::Off);
            measured(&known.layer(layer.layer(end)), variant, count);
        }
        "by address" => with(much()),
        "by identity" => with(much().by(Key::Identity)),
        "by identity, whose plan has its own" => {
            with(per_second(1).by(Key::Identity).plan("pro", much()));
        }
        "by address, three bounds" => with(much().and(much()).and(much())),
        "by address and by identity, two quotas" => {
            let layer = RateLimitLayer::in_memory();
            let layer = layer.everywhere(much()).everywhere(much().by(Key::Identity));
            measured(&known.layer(layer.layer(end)), variant, count);
        }
        "by address, so many at once" => with(at_once(10)),
        "refused" => with(per_hour(1)),
        other => println!("there is no variant `{other}`"),
    }
}

/// As behind authentication.
fn known(mut request: Request<Body>, caller: &Identity) -> Request<Body> {
    let context = Context::of(&mut request);
    context.set_client(ClientAddr::peer(IpAddr::from([192, 0, 2, 1])));
    context.set_auth(AuthState::Authenticated(caller.clone()));
    request
}

fn measured<S>(service: &S, variant: &str, count: u32)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    // The first one is not measured, and gets through.
    let refuses = Cell::new(false);
    measure(ALLOCATOR, count, async || {
        // As from a server's shared buffer: cloning a part of it allocates nothing.
        let request = Request::get(Uri::from_static("/books/7"))
            .header("host", HeaderValue::from_static("shop.example"))
            .header("accept", HeaderValue::from_static("application/json"));
        let request = request.body(Body::empty()).unwrap_or_default();
        let Ok(response) = service.clone().oneshot(request).await;
        let want = if refuses.replace(variant == "refused") { 429 } else { 200 };
        assert_eq!(response.status(), want, "the benchmark measures what it says");
        drop(response.into_body().collect().await);
    });
}
