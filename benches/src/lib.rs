//! What the programs that measure have in common.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::time::Duration;

use portcullis::BoxError;
use stats_alloc::{Region, StatsAlloc};
use tokio::runtime::Builder;

pub mod rounds;

/// Does what the command line says: lists the variants of `program`, or runs one so many times.
pub fn command(program: &str, variants: &[&str], run: impl FnOnce(&str, u32)) {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => variants.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => match count.parse() {
            Ok(count) => run(variant, count),
            Err(error) => println!("`{count}` is no number: {error}"),
        },
        _ => println!("usage: {program} list | run VARIANT COUNT"),
    }
}

/// The same for a program that also says how long one takes: `run` does so many, and answers how long they took.
///
/// # Errors
/// Those of `run`, and a count that is no number.
pub fn timed(
    program: &str,
    variants: &[&str],
    run: impl Fn(&str, u32) -> Result<Duration, BoxError>,
) -> Result<(), BoxError> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => variants.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => drop(run(variant, count.parse()?)?),
        ["time"] => {
            for variant in variants {
                run(variant, 2_000)?;
                let micros = run(variant, 20_000)?.as_secs_f64() * 1e6 / 20_000.0;
                println!("{variant}: {micros:.2} us");
            }
        }
        _ => println!("usage: {program} list | run VARIANT COUNT | time"),
    }
    Ok(())
}

/// Does `one` once to get warm and then `count` times, and says what was allocated.
pub fn measure(allocator: &StatsAlloc<System>, count: u32, one: impl AsyncFn()) {
    let Ok(runtime) = Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        one().await;
        let region = Region::new(allocator);
        for _ in 0..count {
            one().await;
        }
        let counted = region.change();
        println!("allocations {}", counted.allocations);
        println!("bytes {}", counted.bytes_allocated);
    });
}
