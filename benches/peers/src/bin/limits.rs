//! What it costs to count somebody by `governor`, with one key and with a million, by one thread and by two; and what `tower_governor` costs as a layer.
use std::alloc::System;
use std::convert::Infallible;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use governor::{Quota, RateLimiter};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

#[path = "../../../src/rounds.rs"]
#[expect(dead_code, reason = "others use the rest")]
mod rounds;

use rounds::{Figures, KEYS, in_turn, mixed};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VARIANTS: [&str; 4] = ["no layer, axum's body", "tower_governor", "tower_governor, with its headers", "tower_governor, refused"];

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => VARIANTS.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => run(variant, count.parse().expect("a number")),
        ["time"] => KEYS.into_iter().for_each(time),
        _ => println!("usage: limits list | run VARIANT COUNT | time"),
    }
}

fn time(keys: usize) {
    let before = held();
    // None is free again while it is measured.
    let quota = Quota::with_period(Duration::from_secs(10)).expect("a time");
    let quota = quota.allow_burst(NonZeroU32::new(100_000_000).expect("not nought"));
    let limiter = RateLimiter::keyed(quota);
    let all: Vec<_> = mixed(keys).map(|who| (who as u128) << 64).collect();
    let lists = all.capacity() * size_of::<u128>();
    let take = |who: &u128| limiter.check_key(black_box(who)).is_ok();
    assert!(all.iter().all(take), "the benchmark measures what is let through");
    let bytes = (held() - before).saturating_sub(lists) as f64 / keys as f64;
    let figures = Figures::of(|| in_turn(&all, Instant::now, take), || 0);
    let [one, two] = figures.nanos;
    println!("governor: {keys} keys, {one:.1} ns, {two:.1} ns, {bytes:.0} bytes");
}

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

fn run(variant: &str, count: u32) {
    let end = service_fn(answer);
    let much = || {
        let mut config = GovernorConfigBuilder::default();
        config.per_nanosecond(1_000).burst_size(1_000_000);
        config
    };
    match variant {
        "no layer, axum's body" => measured(end, count, false),
        "tower_governor" => {
            let config = Arc::new(much().finish().expect("a sound configuration"));
            measured(GovernorLayer::new(config).layer(end), count, false);
        }
        "tower_governor, with its headers" => {
            let config = Arc::new(much().use_headers().finish().expect("a sound configuration"));
            measured(GovernorLayer::new(config).layer(end), count, false);
        }
        "tower_governor, refused" => {
            let mut config = GovernorConfigBuilder::default();
            config.per_second(3_600).burst_size(1);
            let config = Arc::new(config.finish().expect("a sound configuration"));
            measured(GovernorLayer::new(config).layer(end), count, true);
        }
        other => println!("there is no variant `{other}`"),
    }
}

fn measured<S>(service: S, count: u32, is_refused: bool)
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let one = async |status: u16| {
        let request = Request::get("/books/7").header("host", "shop.example").header("accept", "application/json");
        let mut request = request.body(Body::empty()).expect("a request");
        let peer = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 50_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = service.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), status, "the benchmark measures what it says");
        drop(response.into_body().collect().await);
    };
    runtime.block_on(async {
        one(200).await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..count {
            one(if is_refused { 429 } else { 200 }).await;
        }
        let counted = region.change();
        println!("allocations {}", counted.allocations);
        println!("bytes {}", counted.bytes_allocated);
    });
}
