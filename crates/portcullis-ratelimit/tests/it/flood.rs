//! A flood of strangers: memory has a bound, and who uses much stays counted.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use portcullis_core::{Body, Context, MetricSource};
use portcullis_ratelimit::{Key, RateLimitLayer, RateLimitStats, per_hour};
use portcullis_testkit::FakeTime;
use tower::Layer;

use crate::support::{Endpoint, answer};

/// What the metrics say that the keys take.
fn memory(stats: &RateLimitStats) -> u64 {
    let mut text = String::new();
    stats.write(&mut text);
    let line = text.lines().find(|line| line.starts_with("portcullis_limit_memory_bytes{"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap()
}

/// How many strangers come: `PORTCULLIS_STRANGERS`, such as the ten million that the machine of a release sees.
fn strangers() -> u64 {
    let count = std::env::var("PORTCULLIS_STRANGERS").ok();
    count.map_or(200_000, |count| count.parse().unwrap())
}

#[test]
fn a_flood_takes_no_more_memory_than_there_is_room_for_and_the_greedy_stays_counted() {
    let (time, who) = (FakeTime::new(), Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&who);
    let key = Key::by(move |_| Some(told.load(Ordering::Relaxed).to_string()));
    let strangers = strangers();
    // A tenth of them fit.
    let keys = usize::try_from(strangers / 10).unwrap();
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(100).by(key));
    let layer = layer.capacity(keys);
    let (stats, mut service) = (layer.stats(), layer.layer(Endpoint::default()));
    let clock = time.clock();
    let mut ask = |number: u64| {
        who.store(number, Ordering::Relaxed);
        let mut request = Request::new(Body::empty());
        Context::with_clock(&mut request, &clock);
        answer(&mut service, request).status()
    };
    for _ in 0..100 {
        assert_eq!(ask(0), 200);
    }
    let one = memory(&stats);
    assert!(one <= 64 * 128, "one key takes little: {one}");
    for stranger in 1..=strangers {
        assert_eq!(ask(stranger), 200, "{stranger}");
        if stranger % (strangers / 100) == 0 {
            assert_eq!(ask(0), 429, "after {stranger}");
        }
    }
    // Sixteen bytes for each entry, and room for up to twice and three quarters as many: sets are a power of two, and fill unevenly.
    let taken = memory(&stats);
    let most = keys as u64 * 16 * 4;
    assert!(taken <= most, "{taken} for {keys}");
    println!("{taken} bytes for {keys} keys, of {strangers} that came");
}

#[test]
fn the_default_takes_what_is_said() {
    let (time, who) = (FakeTime::new(), Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&who);
    let key = Key::by(move |_| Some(told.load(Ordering::Relaxed).to_string()));
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(1).by(key));
    let (stats, mut service) = (layer.stats(), layer.layer(Endpoint::default()));
    let clock = time.clock();
    // As many as make the largest level.
    for number in 0..150_000 {
        who.store(number, Ordering::Relaxed);
        let mut request = Request::new(Body::empty());
        Context::with_clock(&mut request, &clock);
        assert_eq!(answer(&mut service, request).status(), 200);
    }
    let taken = memory(&stats);
    assert!((33_000_000..=38_000_000).contains(&taken), "{taken}");
}
