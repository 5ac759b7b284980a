//! HTTP/2 floods: each against a server of its own, which must end the connection soon and stay small.
use std::path::Path;
use std::time::Duration;

use crate::client::{Ask, KeepAlive, Multiplexed};
use crate::failure::{Failure, Result};
use crate::numbers::{count, mebibytes, millis};
use crate::report::Report;
use crate::server::{Launch, Server};

mod attack;
mod kinds;

use attack::{Outcome, attack};
use kinds::{FLOODS, Flood};

/// How soon a flood must be ended.
const END: Duration = Duration::from_secs(1);
/// How many bytes a server may grow meanwhile.
const GROWTH: u64 = 10 << 20;
/// What is asked first, so that a server has all memory that it needs in peace.
const WARM_UP: u32 = 50;

pub(crate) async fn run(program: &Path) -> Result<Report> {
    let mut report = Report::new(&["flood", "frames until the end", "time", "ended by", "growth"]);
    for flood in FLOODS {
        eprintln!("{}", flood.name);
        let within = |failure| Failure::new(format!("{}: {failure}", flood.name));
        one(program, flood, &mut report).await.map_err(within)?;
    }
    Ok(report)
}

async fn one(program: &Path, flood: &Flood, report: &mut Report) -> Result {
    let mut server = Launch::new(program)?.start().await?;
    greet(&server, WARM_UP).await.map_err(|what| Failure::new(format!("before: {what}")))?;
    let before = server.memory()?.now;
    let outcome = attack(server.address(), flood).await?;
    if !server.is_running()? {
        report.miss(format!("{}: the process has ended", flood.name));
        return server.kill().await;
    }
    let growth = server.memory()?.peak.saturating_sub(before);
    judge(flood, &outcome, growth, report);
    if let Err(what) = greet(&server, 1).await {
        report.miss(format!("{}: a good client afterwards: {what}", flood.name));
    }
    server.kill().await
}

fn judge(flood: &Flood, outcome: &Outcome, growth: u64, report: &mut Report) {
    let (time, by, in_time) = match &outcome.end {
        Some((after, by)) => (millis(*after), by.clone(), *after <= END),
        None => ("—".to_owned(), "nothing".to_owned(), false),
    };
    let is_small = growth <= GROWTH;
    if flood.must_end && !in_time {
        let sent = count(outcome.frames.into());
        report.miss(format!("{}: {sent} frames, ended by {by}, {time}", flood.name));
    }
    if !is_small {
        report.miss(format!("{}: the server grew by {}", flood.name, mebibytes(growth)));
    }
    let bold = |text: String, met: bool| if met { text } else { format!("**{text}**") };
    report.row(vec![
        flood.name.to_owned(),
        count(outcome.frames.into()),
        bold(time, in_time || !flood.must_end),
        by,
        bold(mebibytes(growth), is_small),
    ]);
}

/// Good clients of both versions.
async fn greet(server: &Server, times: u32) -> Result {
    let mut http1 = KeepAlive::new(server.address());
    let mut http2 = Multiplexed::new(server.address());
    for _ in 0..times {
        http1
            .ask(&Ask::hello())
            .await
            .map_err(|fault| Failure::new(format!("HTTP/1.1: {fault}")))?;
        http2.ask(&Ask::hello()).await.map_err(|fault| Failure::new(format!("HTTP/2: {fault}")))?;
    }
    Ok(())
}
