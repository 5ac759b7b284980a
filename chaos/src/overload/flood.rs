//! Ten times as much as the back end can do.
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::offer::Outcome;
use super::{Stage, capacity, part};
use crate::failure::Result;
use crate::gateway::peer::get;
use crate::numbers::{count, mebibytes, millis, percentile, seconds};
use crate::report::Report;
use crate::server::Server;

/// An adaptive limit as it is, but for nothing.
const OVERLOAD: &str = "[overload]\nlimit = \"adaptive\"\n";
const BEFORE: Duration = Duration::from_secs(8);
const FLOOD: Duration = Duration::from_mins(1);
const AFTER: Duration = Duration::from_secs(8);
/// What the part of the server in a shed answer may take.
const QUICK: &str = "0.005";
/// Within this time everything must be as before.
const RECOVERY: Duration = Duration::from_secs(2);
/// How many checks of health come in a second.
const CHECKS: u32 = 10;

pub(super) async fn run(gateway: &Path, report: &mut Report) -> Result {
    let capacity = capacity(gateway).await?;
    eprintln!("{capacity:.0} a second");
    let stage = Stage::open(gateway, "flood", OVERLOAD, "access = \"public\"\n").await?;
    let steady = stage.offer("/", part(capacity, 0.8));
    let before = steady.run(BEFORE).await;
    let idle = stage.front.memory()?.now;
    let (flood, checks) = (stage.offer("/", part(capacity, 10.0)), stage.offer("/health", CHECKS));
    let processor = stage.front.processor_time()?;
    let (flood, checks, memory) =
        tokio::join!(flood.run(FLOOD), checks.run(FLOOD), watched(&stage.front));
    let processor = stage.front.processor_time()?.saturating_sub(processor);
    let memory = memory?;
    let over = Instant::now();
    let quick = shed_within(&stage.front).await?;
    let after = steady.run(AFTER).await;
    stage.close().await?;

    report.figure("the back end can do", format!("{capacity:.0} a second"));
    goodput(report, capacity, &flood);
    shed(report, &flood, quick);
    let asked = checks.answers.len() as u64 + checks.unasked;
    let well = checks.count(200);
    report.gate("checks of health answered", format!("{well} of {asked}"), "all", well == asked);
    let longest = checks.times(200).last().copied().unwrap_or_default();
    report.figure("the longest of them", millis(longest));
    remembered(report, idle, &memory);
    let share = processor.as_secs_f64() / FLOOD.as_secs_f64() * 100.0;
    report.figure("of a processor, the gateway", format!("{share:.0} %"));
    recovered(report, &before, &after, over);
    Ok(())
}

/// What was resident, once a second.
async fn watched(front: &Server) -> Result<Vec<u64>> {
    let (mut at, mut memory) = (Instant::now(), Vec::new());
    for _ in 0..FLOOD.as_secs() {
        at += Duration::from_secs(1);
        sleep_until(at).await;
        memory.push(front.memory()?.now);
    }
    Ok(memory)
}

/// How many answers with 503 the gateway has given, and how many of them within the time, by its own clock: from the head of the request to
/// the end of the answer.
async fn shed_within(front: &Server) -> Result<(u64, u64)> {
    let text = get(front.observed_at()?, "/metrics").await?;
    let shed = text.lines().filter(|line| {
        line.starts_with("http_server_request_duration_seconds_bucket")
            && line.contains("http_response_status_code=\"503\"")
    });
    let sum = |bound: &str| {
        let bound = format!("le=\"{bound}\"");
        let values = shed.clone().filter(|line| line.contains(&bound));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    Ok((sum("+Inf"), sum(QUICK)))
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand requests")]
fn goodput(report: &mut Report, capacity: f64, flood: &Outcome) {
    let asked = flood.answers.len() as u64;
    let time = FLOOD.as_secs_f64();
    let offered = format!("{:.0} a second", asked as f64 / time);
    report.gate("offered for a minute", offered, "ten times as much", {
        asked as f64 / time >= capacity * 9.5
    });
    report.figure("not asked, since a thousand connections were busy", count(flood.unasked));
    let good = flood.count(200) as f64 / time / capacity * 100.0;
    let shown = format!("{good:.1} % of what it can do");
    report.gate("answered 200", shown, "at least 90 %", good >= 90.0);
    let times = flood.times(200);
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    report.figure("their p50 and p99 at the client", format!("{}, {}", millis(p50), millis(p99)));
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand requests")]
fn shed(report: &mut Report, flood: &Outcome, (all, quick): (u64, u64)) {
    let shed = flood.count(503);
    report.figure("answered 503", count(shed));
    let polite = flood.of(503).filter(|answer| answer.retry_after).count() as u64;
    report.gate("of them with `Retry-After`", count(polite), "all", polite == shed && shed > 0);
    let odd = flood.answers.len() as u64 - shed - flood.count(200);
    report.gate("any other answer, or none", count(odd), "0", odd == 0);
    let share = quick as f64 / all.max(1) as f64 * 100.0;
    let shown = format!("{share:.2} %");
    report.gate("503 within 5 ms, by the gateway's clock", shown, "at least 99 %", share >= 99.0);
    let times = flood.times(503);
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    report.figure("p50 and p99 of 503 at the client", format!("{}, {}", millis(p50), millis(p99)));
}

fn remembered(report: &mut Report, idle: u64, memory: &[u64]) {
    let end = memory.last().copied().unwrap_or(u64::MAX);
    report.figure("resident before, under load", mebibytes(idle));
    report.gate(
        "resident at the end",
        mebibytes(end),
        "at most twice as much",
        end <= idle.saturating_mul(2),
    );
    let half = memory.get(memory.len() / 2).copied().unwrap_or_default();
    let more = end.saturating_sub(half);
    let must = "at most 1.0 MiB";
    report.gate("more than half a minute before", mebibytes(more), must, more <= 1 << 20);
}

/// Four fifths of what it can do are offered again as soon as the last answer has come.
fn recovered(report: &mut Report, before: &Outcome, after: &Outcome, over: Instant) {
    let failed = |answer: &&super::offer::Answer| answer.status != 200;
    let first = before.answers.iter().filter(failed).count() as u64;
    report.figure("failed at four fifths before", count(first));
    let last = after.answers.iter().filter(failed).map(|answer| answer.began).max();
    let time = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(over));
    let must = format!("within {}", seconds(RECOVERY));
    report.gate("afterwards the last one fails after", seconds(time), &must, time <= RECOVERY);
    let after = after.since(over + RECOVERY);
    let (usual, now) = (before.times(200), after.times(200));
    let (p99, now) = (percentile(&usual, 99), percentile(&now, 99));
    report.figure("p99 at four fifths before", millis(p99));
    report.gate("p99 two seconds afterwards", millis(now), "at most 1.5 x", now <= p99 + p99 / 2);
}
