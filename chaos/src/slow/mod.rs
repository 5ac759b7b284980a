//! Slow clients: thousands that hold connections for nothing, beside a few that only want their answers.
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::Result;
use crate::limits;
use crate::numbers::{count, mebibytes, millis, percentile, seconds};
use crate::report::Report;
use crate::server::{Launch, Server};
use crate::sockets;

mod crowd;
mod good;
mod lives;
mod memory;

use crowd::{Crowd, Kind};
use good::{Answers, Good};
use lives::Lives;

/// The crowd, the good clients, and some descriptors for the processes themselves.
const DESCRIPTORS: u64 = 13_200;
/// How long good clients are alone, for comparison.
const ALONE: Duration = Duration::from_secs(10);
/// How long the crowd is watched: longer than any of its connections may live.
const WATCHED: Duration = Duration::from_secs(65);
/// How long the server has to give memory back.
const CALM: Duration = Duration::from_secs(2);

pub(crate) async fn run(program: &Path) -> Result<Report> {
    limits::require_descriptors(DESCRIPTORS)?;
    let mut report = Report::figures();
    memory::measure(program, &mut report).await?;

    let server = Launch::new(program)?.start().await?;
    let good = Good::start(server.address())?;
    sleep(ALONE).await;
    let alone = good.stop().await?;
    let before = server.memory()?;
    eprintln!("good clients alone: {}", told(&alone));

    let good = Good::start(server.address())?;
    let crowd = Crowd::gather(server.address()).await?;
    let (lives, kernel) = watch(&server, &crowd).await?;
    let beside = good.stop().await?;
    eprintln!("good clients beside the others: {}", told(&beside));
    drop(crowd);
    sleep(CALM).await;
    let after = server.memory()?;
    server.kill().await?;

    report_lives(&lives, &mut report);
    report_good(&alone, &beside, &mut report);
    report.figure("resident before", mebibytes(before.now));
    report.figure("resident at the peak", mebibytes(after.peak));
    report.figure("resident afterwards", mebibytes(after.now));
    report.figure("held by the kernel for TCP at the peak", mebibytes(kernel));
    Ok(report)
}

/// Looks once a second which connections the server has closed, until it has closed all. Says too how many bytes the
/// kernel held for them at most.
async fn watch(server: &Server, crowd: &Crowd) -> Result<(Lives, u64)> {
    let (mut lives, mut kernel) = (Lives::new(crowd.members()), 0);
    let until = Instant::now() + WATCHED;
    while Instant::now() < until && !lives.are_over() {
        let now = Instant::now();
        let closed = lives.look(&sockets::held_by(server.address()).await?, now);
        if closed > 0 {
            eprintln!("{} connections left", count(lives.left()));
        }
        kernel = kernel.max(sockets::kernel_memory()?);
        sleep(Duration::from_secs(1)).await;
    }
    Ok((lives, kernel))
}

fn report_lives(lives: &Lives, report: &mut Report) {
    for kind in Kind::ALL {
        let life = lives.of(kind);
        let name = format!("{} {}", count(kind.members()), kind.name());
        let must = format!("all closed within {} s", kind.longest().as_secs());
        let met = life.open == 0 && life.last <= kind.longest();
        let left = match life.open {
            0 => String::new(),
            open => format!(", {} never", count(open)),
        };
        let measured = match life.closed {
            0 => format!("none closed{left}"),
            _ => format!("closed after {} to {}{left}", seconds(life.first), seconds(life.last)),
        };
        report.gate(&name, measured, &must, met);
    }
}

fn report_good(alone: &Answers, beside: &Answers, report: &mut Report) {
    let failed = alone.failed + beside.failed;
    report.gate("requests of good clients that failed", count(failed), "0", failed == 0);
    report.figure("good clients alone", told(alone));
    report.figure("good clients beside the others", told(beside));
}

fn told(answers: &Answers) -> String {
    let [half, most, all] =
        [50, 99, 100].map(|percent| millis(percentile(&answers.times, percent)));
    format!("p50 {half}, p99 {most}, longest {all} of {}", count(answers.times.len() as u64))
}
