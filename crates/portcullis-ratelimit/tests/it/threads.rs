//! Many threads on one key, by the machine's own clock.
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use http::Request;
use portcullis_core::{Body, Clock, Connection, Context};
use portcullis_ratelimit::{RateLimitLayer, per};
use tower::Layer;

use crate::support::{Endpoint, answer, peer};

fn request(clock: &Clock, from: &Connection) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(from.clone());
    Context::with_clock(&mut request, clock);
    request
}

#[test]
fn sixty_four_threads_get_no_more_than_the_burst_and_what_the_time_gives() {
    const THREADS: usize = 64;
    const EACH: usize = 2_000;
    let (units, period, burst) = (3_000, Duration::from_secs(1), 100);
    let layer = RateLimitLayer::before_authentication().everywhere(per(period, units).burst(burst));
    let service = layer.layer(Endpoint::default());
    let (clock, barrier, admitted) = (Clock::system(), Barrier::new(THREADS), AtomicU64::new(0));
    let from = Connection::new(Some(peer("192.0.2.1")));
    let start = clock.now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut service = service.clone();
                barrier.wait();
                let own = (0..EACH)
                    .filter(|_| answer(&mut service, request(&clock, &from)).status() == 200);
                admitted.fetch_add(own.count() as u64, Ordering::Relaxed);
            });
        }
    });
    let passed = clock.now() - start;
    let admitted = admitted.into_inner();
    let most = u128::from(burst) + passed.as_nanos() * u128::from(units) / 999_999_000;
    assert!(u128::from(admitted) <= most, "{admitted} in {passed:?}");
    assert!(admitted >= burst && admitted < (THREADS * EACH) as u64, "{admitted}");
}

#[test]
fn nobody_is_refused_who_keeps_to_a_window_of_a_millisecond() {
    // A hundred a millisecond, and a shared schedule that gives turns ten microseconds apart at least. Each thread may be late with one, so that no more than
    // these come together: there is room for all. A time that another thread has looked up later must not make one seem too early.
    const THREADS: u64 = 4;
    const EACH: u32 = 100_000;
    let quota = per(Duration::from_millis(1), 100).burst(1 + THREADS);
    let layer = RateLimitLayer::before_authentication().everywhere(quota);
    let service = layer.layer(Endpoint::default());
    let (clock, next, refused) = (Clock::system(), AtomicU64::new(0), AtomicU64::new(0));
    let from = Connection::new(Some(peer("192.0.2.1")));
    let start = clock.now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut service = service.clone();
                for _ in 0..EACH {
                    let now = u64::try_from((clock.now() - start).as_nanos()).unwrap();
                    let turn = |next: u64| Some(next.max(now) + 10_000);
                    let turn = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, turn);
                    let due = Duration::from_nanos(turn.unwrap().max(now));
                    while clock.now() - start < due {
                        std::hint::spin_loop();
                    }
                    let status = answer(&mut service, request(&clock, &from)).status();
                    refused.fetch_add(u64::from(status != 200), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(refused.into_inner(), 0);
}
