//! A panic costs one request its answer, and nothing else.
use std::path::Path;

use crate::client::{Ask, Fault, KeepAlive, Multiplexed};
use crate::failure::Result;
use crate::numbers::count;
use crate::report::Report;
use crate::server::Launch;

/// For each version of HTTP.
const PANICS: u64 = 100;

#[derive(Debug, Default)]
struct Answers {
    /// Panics that were answered with 500.
    told: u64,
    /// Good requests behind them that were answered.
    good: u64,
    /// Connections for all of them.
    connections: u64,
}

pub(super) async fn run(program: &Path, report: &mut Report) -> Result {
    let mut server = Launch::new(program)?.start().await?;
    let mut http1 = KeepAlive::new(server.address());
    let mut answers = Answers::default();
    for _ in 0..PANICS {
        answers.told += counted("HTTP/1.1", http1.ask(&Ask::panic()).await);
        answers.good += counted("HTTP/1.1", http1.ask(&Ask::hello()).await);
    }
    answers.connections = http1.opened();
    show("HTTP/1.1", &answers, report);

    let mut http2 = Multiplexed::new(server.address());
    let mut answers = Answers::default();
    for _ in 0..PANICS {
        answers.told += counted("HTTP/2", http2.ask(&Ask::panic()).await);
        answers.good += counted("HTTP/2", http2.ask(&Ask::hello()).await);
    }
    answers.connections = http2.opened();
    show("HTTP/2", &answers, report);

    let lives = server.is_running()?;
    let shown = if lives { "runs" } else { "ended" };
    report.gate("the process behind 200 panics", shown, "runs", lives);
    server.kill().await
}

fn counted(client: &str, answer: std::result::Result<(), Fault>) -> u64 {
    if let Err(fault) = answer {
        eprintln!("{client}: {fault}");
    }
    u64::from(answer.is_ok())
}

fn show(version: &str, answers: &Answers, report: &mut Report) {
    let Answers { told, good, connections } = answers;
    for (name, measured, must) in [
        ("panics answered with 500", told, PANICS),
        ("good requests behind them answered", good, PANICS),
        ("connections for all of them", connections, 1),
    ] {
        let name = format!("{version}: {name}");
        report.gate(&name, count(*measured), &count(must), *measured == must);
    }
}
