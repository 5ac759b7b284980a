//! Restarts under load: a new process takes the listening sockets over, the old one drains, and no client notices.
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::failure::{Failure, Result};
use crate::gateway::in_front_of;
use crate::numbers::{count, seconds};
use crate::report::Report;
use crate::server::{Launch, Server};

mod load;
mod tally;

use load::Load;

const RESTARTS: u64 = 10;
const REQUESTS: u64 = 30_000;
/// Before the first restart, and behind the last.
const QUIET: Duration = Duration::from_secs(1);
/// How long a round lasts at least, so that the load meets each process in peace too.
const ROUND: Duration = Duration::from_millis(2500);
/// Within what time an old process must have drained.
const DRAIN: Duration = Duration::from_secs(35);
/// How long the load goes on at most for the sake of the number of requests.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn run(program: &Path) -> Result<Report> {
    let handover = Handover::new();
    let launch = Launch::new(program)?.option("--handover", handover.0.display().to_string());
    restarts(&launch).await
}

/// The same for a gateway, which lets its back end know nothing of it.
pub(crate) async fn run_gateway(gateway: &Path, program: &Path) -> Result<Report> {
    let (handover, back) = (Handover::new(), Launch::new(program)?.start().await?);
    let more = format!("handover = \"{}\"\n", handover.0.display());
    let text = in_front_of(&[format!("http://{}", back.address())], "");
    let report = restarts(&Launch::gateway_with(gateway, "upgrade", &more, &text)?).await;
    back.kill().await?;
    report
}

async fn restarts(launch: &Launch) -> Result<Report> {
    let server = launch.start().await?;
    let load = Load::start(server.address());
    sleep(QUIET).await;
    let restarts = restart_all(launch, server, &load).await?;
    let until = Instant::now() + PATIENCE;
    while load.tally().requests() < REQUESTS && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    let tally = load.stop().await;
    // It lived until the last client had its answer.
    restarts.last.kill().await?;
    for example in tally.examples() {
        eprintln!("failed: {example}");
    }
    Ok(report(&restarts.figures, &tally))
}

/// The path of the socket over which the listeners go; it is removed in the end.
struct Handover(PathBuf);

impl Handover {
    fn new() -> Self {
        let name = format!("portcullis-chaos-{}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        // A server may have removed it.
        let _gone = std::fs::remove_file(&self.0);
    }
}

struct Restarts {
    figures: Figures,
    last: Server,
}

#[derive(Debug, Default)]
struct Figures {
    restarts: u64,
    in_flight: u64,
    longest_drain: Duration,
    longest_start: Duration,
    /// Old processes that did not end with success.
    ended_badly: u64,
}

async fn restart_all(launch: &Launch, first: Server, load: &Load) -> Result<Restarts> {
    let (mut figures, mut old) = (Figures::default(), first);
    for round in 1..=RESTARTS {
        let next_round = Instant::now() + ROUND;
        let within = |failure: Failure| Failure::new(format!("restart {round}: {failure}"));
        let new = launch.start().await.map_err(within)?;
        figures.longest_start = figures.longest_start.max(new.age());
        figures.in_flight += load.tally().in_flight();
        let asked = Instant::now();
        old.terminate()?;
        let status = old.exit(DRAIN).await.map_err(within)?;
        let drain = asked.elapsed();
        eprintln!("restart {round}: drained in {}, {status}", seconds(drain));
        figures.restarts += 1;
        figures.longest_drain = figures.longest_drain.max(drain);
        figures.ended_badly += u64::from(!status.success());
        old = new;
        sleep_until(next_round).await;
    }
    sleep(QUIET).await;
    Ok(Restarts { figures, last: old })
}

fn report(figures: &Figures, tally: &tally::Tally) -> Report {
    let mut report = Report::figures();
    let requests = tally.requests();
    report.gate("requests", count(requests), "at least 30 000", requests >= REQUESTS);
    for (name, faults) in [
        ("failed, of any cause", tally.failed()),
        ("refused connections among them", tally.refused()),
        ("reset connections among them", tally.reset()),
    ] {
        report.gate(name, count(faults), "0", faults == 0);
    }
    report.gate("restarts", count(figures.restarts), "10", figures.restarts == RESTARTS);
    let bad = figures.ended_badly;
    report.gate("old processes that ended without success", count(bad), "0", bad == 0);
    let in_flight = figures.in_flight;
    report.gate("in flight at SIGTERM, in all", count(in_flight), "more than 0", in_flight > 0);
    report.figure("longest drain, from SIGTERM to the end", seconds(figures.longest_drain));
    report.figure("longest start, to `ready`", seconds(figures.longest_start));
    report.figure("HTTP/1.1 connections closed while idle", count(tally.closed_idle()));
    report.figure("HTTP/2 requests given back unsent", count(tally.unsent()));
    report.figure("connections opened", count(tally.opened()));
    report
}
