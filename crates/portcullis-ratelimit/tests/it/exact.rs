//! The decisions are those of GCRA, one by one: beside the `governor` crate, which has the same.
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota as Other, RateLimiter};
use http::Request;
use portcullis_core::{Body, Connection, Context};
use portcullis_ratelimit::{Fields, Key, Quota, RateLimitLayer, per};
use portcullis_testkit::FakeTime;
use tower::Layer;

use crate::support::{Endpoint, Random, answer, peer};

const SECOND: u64 = 1_000_000_000;

/// So many units in so many seconds, how many at once, and what a request costs at most.
const RATES: [(u32, u64, u32, u64); 20] = [
    (1, 1, 1, 1),
    (3, 1, 3, 1),
    (3, 1, 1, 1),
    (7, 60, 7, 3),
    (7, 60, 2, 3),
    (999, 1, 999, 1),
    (999, 1, 10, 12),
    (11, 3_600, 11, 1),
    (11, 3_600, 4, 5),
    (10, 1, 30, 1),
    (100, 1, 1, 1),
    (1_000, 1, 1_000, 100),
    (60, 60, 60, 1),
    (61, 60, 5, 2),
    (1, 86_400, 1, 1),
    (5_000, 3_600, 50, 1),
    (123_457, 1, 77, 20),
    (999_983, 1, 13, 4),
    (1_000_000, 1, 1_000, 1_000),
    (13, 86_400, 5, 6),
];

/// How long until the next request: none, a nanosecond, around what one takes up, around the burst, or far beyond.
fn gap(random: &mut Random, one: u64, burst: u64) -> u64 {
    let about = |random: &mut Random, nanos: u64| nanos.saturating_add(random.below(3)).max(1) - 1;
    match random.below(12) {
        0..=2 => 0,
        3 => 1,
        4 | 5 => random.below(one + 1),
        6 => about(random, one),
        7 => about(random, one / 2),
        8 if random.below(burst) == 0 => {
            let some = random.below(burst) + 1;
            about(random, one * some)
        }
        9 => random.below(one * 3 + 1),
        10 if random.below(burst * 4) == 0 => about(random, one * burst),
        11 if random.below(burst * 16) == 0 => random.below(one * burst * 4),
        _ => random.below(one / 3 + 1),
    }
}

/// What one rate says to so many random requests of so many clients, ours and the other's.
fn compare(which: usize, arrivals: u32, clients: u64) -> u32 {
    let (units, seconds, burst, dearest) = RATES[which];
    let one = SECOND * seconds / u64::from(units);
    let period = Duration::from_secs(seconds);
    let other = Other::with_period(Duration::from_nanos(one)).unwrap();
    let other = other.allow_burst(NonZeroU32::new(burst).unwrap());
    let clock = FakeRelativeClock::default();
    let store = HashMapStateStore::<u64>::default();
    let other: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
        RateLimiter::new(other, store, clock.clone());

    let (time, cost) = (FakeTime::new(), Arc::new(AtomicU64::new(1)));
    let told = Arc::clone(&cost);
    let quota: Quota = per(period, units.into()).burst(burst.into()).by(Key::Address);
    let quota = quota.cost_of(move |_| told.load(Ordering::Relaxed));
    let layer = RateLimitLayer::before_authentication().everywhere(quota).fields(Fields::Off);
    let mut service = layer.layer(Endpoint::default());
    let peers: Vec<_> = (0..clients)
        .map(|client| Connection::new(Some(peer(&format!("192.0.2.{client}")))))
        .collect();

    let mut random = Random(which as u64 * 1_000 + clients);
    let mut admitted = 0;
    for arrival in 0..arrivals {
        // Some come together, so that each of several has too much as well.
        let comes_alone = random.below(clients) == 0;
        let wait = if comes_alone { gap(&mut random, one, burst.into()) } else { 0 };
        time.advance(Duration::from_nanos(wait));
        clock.advance(Duration::from_nanos(wait));
        let (client, price) = (random.below(clients), random.below(dearest) + 1);
        cost.store(price, Ordering::Relaxed);
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(peers[usize::try_from(client).unwrap()].clone());
        Context::with_clock(&mut request, &time.clock());
        let ours = answer(&mut service, request).status() == 200;
        let price = NonZeroU32::new(u32::try_from(price).unwrap()).unwrap();
        let theirs = other.check_key_n(&client, price).is_ok_and(|fits| fits.is_ok());
        assert_eq!(ours, theirs, "{:?}: arrival {arrival}, {wait} ns, {price}", RATES[which]);
        admitted += u32::from(ours);
    }
    admitted
}

#[test]
fn a_million_random_arrivals_are_decided_as_by_another_implementation() {
    for (which, rate) in RATES.iter().enumerate() {
        for (arrivals, clients) in [(25_000, 1), (25_000, 5)] {
            let admitted = compare(which, arrivals, clients);
            // Neither all nor none, or it shows nothing.
            assert!((100..arrivals - 100).contains(&admitted), "{rate:?}: {admitted}");
        }
    }
}
