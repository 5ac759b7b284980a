//! Several processes that count together.
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_core::Clock;
use portcullis_ratelimit::{QuotaStore, Rate, Take};
use portcullis_redis::RedisQuotas;

use crate::own_server::OwnServer;

/// Says to a process of this very test where it counts: it is one of the four then.
const SERVER: &str = "PORTCULLIS_TEST_QUOTA_SERVER";
/// How it counts there.
const MODE: &str = "PORTCULLIS_TEST_QUOTA_MODE";
/// How long each process takes what it gets.
const TIME: Duration = Duration::from_secs(2);
const TAKERS: usize = 8;
const BURST: u64 = 300;

fn rate() -> Rate {
    Rate::new(500, Duration::from_secs(1)).burst(BURST)
}

/// How a process counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Each unit at the store.
    Exact,
}

impl Mode {
    const ALL: [Self; 1] = [Self::Exact];

    fn name(self) -> String {
        format!("{self:?}")
    }
    /// Takes one unit. Whether it was admitted, and how many calls of the store that took.
    async fn take(self, quotas: &RedisQuotas) -> (bool, u64) {
        match self {
            Self::Exact => {
                let one = [Take::new("together".into(), [7; 16], rate(), 1)];
                (quotas.take(&one).await.unwrap()[0].admitted, 1)
            }
        }
    }
    /// How many units all may have taken in so much time of the store's.
    fn most(self, time: Duration) -> u64 {
        match self {
            Self::Exact => BURST + rate().units_in(time),
        }
    }
}

/// What one of the four does; by itself it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four() {
    let (Ok(url), Ok(mode)) = (std::env::var(SERVER), std::env::var(MODE)) else { return };
    let mode = Mode::ALL.into_iter().find(|each| each.name() == mode).unwrap();
    let quotas = RedisQuotas::connect(&url, "four").await.unwrap();
    let clock = Clock::system();
    let end = clock.now() + TIME;
    let takers = (0..TAKERS).map(|_| {
        let (quotas, clock) = (quotas.clone(), clock.clone());
        tokio::spawn(async move {
            let (mut admitted, mut calls) = (0_u64, 0);
            while clock.now() < end {
                let (is_admitted, trips) = mode.take(&quotas).await;
                admitted += u64::from(is_admitted);
                calls += trips;
            }
            (admitted, calls)
        })
    });
    let (mut admitted, mut calls) = (0, 0);
    for taker in takers.collect::<Vec<_>>() {
        let (its_units, its_calls) = taker.await.unwrap();
        (admitted, calls) = (admitted + its_units, calls + its_calls);
    }
    let wall = clock.wall().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    println!("counted {admitted} {calls} {}", wall.as_secs());
}

/// The library of the Debian package `faketime`.
fn faketime() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").unwrap();
    let places = libraries.map(|dir| dir.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let found = places.into_iter().find(|place| place.exists());
    found.expect("the Debian package `faketime` is installed: `cargo xtask services`")
}

/// Starts one, whose clock is off by so many minutes.
fn process(server: &OwnServer, mode: Mode, minutes: i32) -> std::process::Child {
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", "processes::one_of_four", "--nocapture", "--test-threads", "1"]);
    own.env(SERVER, server.url()).env(MODE, mode.name());
    if minutes != 0 {
        own.env("LD_PRELOAD", faketime()).env("FAKETIME", format!("{minutes:+}m"));
        // Time passes as it does; only the calendar is another one.
        own.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    own.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_admit_what_one_does_whatever_their_clocks_say() {
    for mode in Mode::ALL {
        let server = OwnServer::start(&[]).await;
        let since = server.micros().await;
        let minutes = [0, 5, 0, -5];
        let processes = minutes.map(|minutes| process(&server, mode, minutes));
        let (mut admitted, mut calls, mut walls) = (0, 0, Vec::new());
        for process in processes {
            let output = process.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let counted = text.split("counted ").nth(1).unwrap_or_else(|| panic!("{text}"));
            let numbers =
                counted.split_whitespace().take(3).map(|number| number.parse::<u64>().unwrap());
            let numbers: Vec<u64> = numbers.collect();
            assert!(numbers[0] > 0, "each has a part: {text}");
            (admitted, calls) = (admitted + numbers[0], calls + numbers[1]);
            walls.push(numbers[2]);
        }
        assert!(walls[1] > walls[0] + 240 && walls[3] + 240 < walls[0], "{walls:?}");
        let time = Duration::from_micros(server.micros().await - since);
        let most = mode.most(time);
        assert!(admitted <= most, "{mode:?}: {admitted} of {most} in {time:?}");
        assert!(admitted > BURST, "{mode:?}: {admitted} of {most} in {time:?}");
        assert_eq!(server.round_trips(2).await, calls, "{mode:?}");
        println!("{mode:?}: {admitted} of {most} in {time:?}, {calls} round trips");
    }
}
