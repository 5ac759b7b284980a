//! Several processes that count together.
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_core::{Clock, Context, MetricSource};
use portcullis_ratelimit::{QuotaStore, Rate, SharedCounts, Take, Throttle, per_second};
use portcullis_redis::RedisQuotas;
use tokio::time::interval;

use crate::own_server::{OwnServer, micros};

/// Says to a process of this very test where it counts: it is one of the four then.
const SERVER: &str = "PORTCULLIS_TEST_QUOTA_SERVER";
/// How it counts there.
const MODE: &str = "PORTCULLIS_TEST_QUOTA_MODE";
const PROCESSES: u64 = 4;
/// How many take at once in each process, and for how long.
const TAKERS: usize = 8;
const TIME: Duration = Duration::from_secs(3);
/// How much all may take together in a second, and at once; and how much of that a process takes ahead.
const LIMIT: u64 = 1_000;
const LEASE: u64 = LIMIT / 10;

fn rate() -> Rate {
    Rate::new(LIMIT, Duration::from_secs(1))
}

/// How a process counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Each unit at the store, without anything before it.
    Store,
    /// Each request at the store.
    Exact,
    /// The same, where there is room for all.
    ExactWithin,
    /// A tenth of the burst ahead.
    Leased,
    /// The same, where there is room for all.
    LeasedWithin,
}

/// What asks for units of one key.
#[derive(Clone)]
enum Taker {
    Store(RedisQuotas),
    Throttle(Throttle),
}

/// What a process has done, or all have.
#[derive(Debug, Default)]
struct Counted {
    requests: u64,
    admitted: u64,
    calls: u64,
    /// What went wrong, or was decided without the store.
    failures: u64,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::Store, Self::Exact, Self::ExactWithin, Self::Leased, Self::LeasedWithin];

    fn name(self) -> String {
        format!("{self:?}")
    }
    fn is_leased(self) -> bool {
        [Self::Leased, Self::LeasedWithin].contains(&self)
    }
    /// How many requests each process has in a second.
    fn demand(self) -> u64 {
        match self {
            // As many as all of them may have.
            Self::Store | Self::Exact | Self::Leased => LIMIT,
            Self::ExactWithin | Self::LeasedWithin => LIMIT / PROCESSES,
        }
    }
    fn taker(self, quotas: RedisQuotas) -> Taker {
        if self == Self::Store {
            return Taker::Store(quotas);
        }
        let shared = SharedCounts::new(quotas).patience(Duration::from_secs(1));
        let shared = if self.is_leased() { shared.leased() } else { shared };
        Taker::Throttle(Throttle::new("together", per_second(LIMIT).shared(shared)).unwrap())
    }
    /// How many units all may have taken in so much time of the store's.
    fn most(self, time: Duration) -> u64 {
        let ahead = if self.is_leased() { PROCESSES * LEASE } else { 0 };
        LIMIT + rate().units_in(time) + ahead
    }
}

impl Taker {
    /// Whether a unit is admitted.
    async fn take(&self) -> bool {
        match self {
            Self::Store(quotas) => {
                let one = [Take::new("together".into(), [7; 16], rate(), 1)];
                quotas.take(&one).await.unwrap()[0].admitted
            }
            Self::Throttle(throttle) => {
                let context = Context::of(&mut http::Request::new(()));
                throttle.take(&context, "ada", 1).await.is_ok()
            }
        }
    }
    /// What is known of its calls: how many there were, and how many answers did without one that worked.
    fn calls(&self, requests: u64) -> (u64, u64) {
        let Self::Throttle(throttle) = self else { return (requests, 0) };
        let mut text = String::new();
        throttle.stats().write(&mut text);
        let of = |family: &str| {
            let name = format!("portcullis_limit_{family}_total{{quota=\"together\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap_or_else(|| panic!("{text}")).parse::<u64>().unwrap()
        };
        (of("store_calls"), of("store_failures") + of("degraded"))
    }
}

/// What one of the four does; by itself it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four() {
    let (Ok(url), Ok(mode)) = (std::env::var(SERVER), std::env::var(MODE)) else { return };
    let mode = Mode::ALL.into_iter().find(|each| each.name() == mode).unwrap();
    let taker = mode.taker(RedisQuotas::connect(&url, "four").await.unwrap());
    let since = micros(&url).await;
    let pause = Duration::from_secs(TAKERS as u64) / u32::try_from(mode.demand()).unwrap();
    let takers = (0..TAKERS).map(|_| {
        let taker = taker.clone();
        tokio::spawn(async move {
            let (mut admitted, mut requests) = (0_u64, 0);
            // What comes late is made up for: the demand is the same on a busy machine.
            let mut turn = interval(pause);
            while pause * requests < TIME {
                turn.tick().await;
                admitted += u64::from(taker.take().await);
                requests += 1;
            }
            (admitted, u64::from(requests))
        })
    });
    let (mut admitted, mut requests) = (0, 0);
    for task in takers.collect::<Vec<_>>() {
        let (its_units, its_requests) = task.await.unwrap();
        (admitted, requests) = (admitted + its_units, requests + its_requests);
    }
    let (calls, failures) = taker.calls(requests);
    let until = micros(&url).await;
    let wall = Clock::system().wall().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let wall = wall.as_secs();
    println!("counted {requests} {admitted} {calls} {failures} {since} {until} {wall}");
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

/// Lets four of them count, two of them by clocks that are off. What they have done, and in how much time of the store's.
fn four(server: &OwnServer, mode: Mode) -> (Counted, Duration) {
    let processes = [0, 5, 0, -5].map(|minutes| process(server, mode, minutes));
    let (mut all, mut walls) = (Counted::default(), Vec::new());
    let (mut since, mut until) = (u64::MAX, 0);
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let counted = text.split("counted ").nth(1).unwrap_or_else(|| panic!("{text}"));
        let numbers = counted.split_whitespace().map_while(|number| number.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        let [requests, admitted, calls, failures, began, ended, wall, ..] = numbers[..] else {
            panic!("{text}")
        };
        assert!(admitted > 0, "each has a part: {text}");
        (all.requests, all.admitted) = (all.requests + requests, all.admitted + admitted);
        (all.calls, all.failures) = (all.calls + calls, all.failures + failures);
        (since, until) = (since.min(began), until.max(ended));
        walls.push(wall);
    }
    assert!(walls[1] > walls[0] + 240 && walls[3] + 240 < walls[0], "{walls:?}");
    (all, Duration::from_micros(until - since))
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_admit_what_one_does_whatever_their_clocks_say() {
    for mode in Mode::ALL {
        let server = OwnServer::start(&[]).await;
        let (all, time) = four(&server, mode);
        let Counted { requests, admitted, calls, failures } = all;
        let said = format!("{mode:?}: {all:?}, at most {} in {time:?}", mode.most(time));
        println!("{said}");
        // Each process asked for the time when it began, and when it was over.
        assert_eq!(server.round_trips(2 * PROCESSES).await, calls, "{said}");
        assert_eq!(failures, 0, "{said}");
        assert!(admitted <= mode.most(time), "{said}");
        let possible = requests.min(LIMIT + rate().units_in(time));
        assert!(admitted * 10 >= possible * 9, "{said}: {possible} were possible");
        match mode {
            Mode::Store | Mode::ExactWithin => assert_eq!(calls, requests, "{said}"),
            // What was refused a moment ago is not asked about.
            Mode::Exact => assert!((admitted..=requests).contains(&calls), "{said}"),
            Mode::Leased | Mode::LeasedWithin => assert!(calls * 50 < requests, "{said}"),
        }
    }
}
