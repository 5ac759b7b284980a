//! A Redis that goes away while two gateways count in it (R11).
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::failure::Result;
use crate::report::Report;
use crate::server::Launch;
use crate::stores::redis::Redis;

mod load;
mod outcome;
mod trial;

use trial::Trial;

/// What a limit lets through in a second, and at once.
const RATE: u32 = 100;
const BURST: u32 = 20;
/// What a gateway takes ahead where it leases.
const LEASE: u32 = BURST / 10;
const GATEWAYS: usize = 2;
/// How long Redis is away.
const KILLED: Duration = Duration::from_secs(3);
const HUNG: Duration = Duration::from_secs(10);
const PAUSED: Duration = Duration::from_secs(3);

/// What a limit says for the time without Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Local,
    Closed,
}

/// A limit, and a route of its own.
#[derive(Clone, Copy, Debug)]
struct Rule {
    mode: Mode,
    leased: bool,
}

const RULES: [Rule; 6] = [
    Rule { mode: Mode::Open, leased: false },
    Rule { mode: Mode::Open, leased: true },
    Rule { mode: Mode::Local, leased: false },
    Rule { mode: Mode::Local, leased: true },
    Rule { mode: Mode::Closed, leased: false },
    Rule { mode: Mode::Closed, leased: true },
];

impl Rule {
    fn name(self) -> String {
        format!("{}{}", self.mode.name(), if self.leased { "-leased" } else { "" })
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Local => "local",
            Self::Closed => "closed",
        }
    }
}

pub(crate) async fn run(gateway: &Path) -> Result<Report> {
    let mut redis = Redis::open("limits", &["--appendonly", "no"]).await?;
    // It does what it is asked at once.
    let backend = Launch::limited(1_000, 0)?.start().await?;
    let text = file(&redis.url(), &format!("http://{}", backend.address()));
    let (mut fronts, mut at) = (Vec::new(), Vec::new());
    for number in 0..GATEWAYS {
        let front = Launch::gateway(gateway, &format!("limits-{number}"), &text)?.start().await?;
        at.push(front.address());
        fronts.push(front);
    }
    let mut report = Report::new(&outcome::HEAD);

    let trial = Trial::begin(&at).await;
    redis.end(Signal::KILL).await?;
    let away = Instant::now();
    sleep(KILLED).await;
    let until = Instant::now();
    redis.start().await?;
    trial.end("is killed (`SIGKILL`)", Some((away, until)), false, &mut report).await;

    let trial = Trial::begin(&at).await;
    let hung = redis.hang()?;
    let away = Instant::now();
    sleep(HUNG).await;
    let until = Instant::now();
    drop(hung);
    trial.end("hangs for 10 s (`SIGSTOP`)", Some((away, until)), false, &mut report).await;

    let trial = Trial::begin(&at).await;
    let mut own = redis.connect().await?;
    own.ask(&format!("CLIENT PAUSE {} ALL", PAUSED.as_millis())).await?;
    let away = Instant::now();
    sleep(PAUSED.saturating_sub(Duration::from_millis(50))).await;
    let until = Instant::now();
    own.ask("PING").await?;
    trial.end("pauses its clients for 3 s", Some((away, until)), false, &mut report).await;

    let trial = Trial::begin(&at).await;
    redis.end(Signal::TERM).await?;
    redis.start().await?;
    trial.end("is restarted", None, false, &mut report).await;

    let trial = Trial::begin(&at).await;
    redis.connect().await?.ask("FLUSHALL").await?;
    trial.end("forgets all (`FLUSHALL`)", None, true, &mut report).await;

    for front in fronts {
        front.kill().await?;
    }
    backend.kill().await?;
    Ok(report)
}

fn file(redis: &str, backend: &str) -> String {
    let mut text = format!(
        "[stores.shared]\nredis = \"{redis}\"\nprefix = \"chaos\"\n[upstreams.b]\nservers = [\"{backend}\"]\n"
    );
    for rule in RULES {
        let (name, mode, leased) = (rule.name(), rule.mode.name(), rule.leased);
        let replicas = if rule.mode == Mode::Local {
            format!("replicas = {GATEWAYS}\n")
        } else {
            String::new()
        };
        // Writing to a string never fails.
        _ = write!(
            text,
            "[limits.{name}]\nrate = \"{RATE}/s\"\nburst = {BURST}\nkey = \"everyone\"\nstore = \"shared\"\n\
             leased = {leased}\non_store_failure = \"{mode}\"\n{replicas}\
             [[routes]]\nmatch = {{ path = \"/{name}\" }}\naccess = \"public\"\nlimits = [\"{name}\"]\nto = \"b\"\n"
        );
    }
    text
}
