//! What it costs to count somebody, with one key and with a million, by one thread and by two. Run by `cargo xtask bench limits`, beside the program of the same name that does it
//! with what others use.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use portcullis::ratelimit::{Throttle, per};
use portcullis::{BoxError, Clock, MetricSource};
use portcullis_benches::rounds::{Figures, KEYS, in_turn, mixed};

fn main() -> Result<(), BoxError> {
    let clock = Clock::system();
    for keys in KEYS {
        // None is free again while it is measured.
        let quota = per(Duration::from_secs(10), 1).burst(100_000_000);
        let throttle = Throttle::new("bench", quota)?;
        // As addresses, in an order that no cache foresees.
        let all: Vec<_> = mixed(keys).map(|who| (who as u128) << 64).collect();
        let take = |who: &u128| throttle.try_take(black_box(who), 1, &clock).is_ok();
        assert!(all.iter().all(take), "the benchmark measures what is let through");
        let figures = Figures::of(|| in_turn(&all, || clock.now(), take), || 0);
        let each = bytes(&throttle) / f64::from(u32::try_from(keys)?);
        print("portcullis", keys, figures, each);
    }
    let since = [clock.now()];
    let look = |since: &Instant| black_box(clock.now()) >= *since;
    let figures = Figures::of(|| in_turn(&since, || clock.now(), look), || 0);
    print("a look at the clock, which is part of it", 1, figures, 0.0);
    Ok(())
}

fn print(name: &str, keys: usize, figures: Figures, bytes: f64) {
    let [one, two] = figures.nanos;
    println!("{name}: {keys} keys, {one:.1} ns, {two:.1} ns, {bytes:.0} bytes");
}

fn bytes(throttle: &Throttle) -> f64 {
    let mut text = String::new();
    throttle.stats().write(&mut text);
    let line = text.lines().find(|line| line.starts_with("portcullis_limit_memory_bytes"));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0.0)
}
