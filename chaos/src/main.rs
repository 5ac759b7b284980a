//! Experiments with a server program on loopback: restarts under load, slow clients, HTTP/2 floods, faults.
//!
//! The server runs as real processes, which never outlive this one's work. Run by `cargo xtask chaos`;
//! `docs/reliability.md` says what each experiment shows, and has the figures.
#![expect(clippy::print_stdout, reason = "it is a program for the terminal")]
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

mod asked;
mod client;
mod experiment;
mod failing;
mod failure;
mod faults;
mod floods;
mod gateway;
mod http2;
mod limits;
mod marks;
mod numbers;
mod options;
mod overload;
mod process;
mod quotas;
mod reload;
mod report;
mod restart;
mod server;
mod slow;
mod sockets;
mod stores;

use experiment::Experiment;
use failure::{Failure, Result};
use options::Options;
use report::Report;

// One thread, so that a client of HTTP/2 cannot be told of a GOAWAY in the midst of sending.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let is_told = |what: &str| words.iter().any(|word| word == what);
    let done = match (is_told(failing::backend::RECORD), is_told(overload::backend::AT_ONCE)) {
        (true, _) => failing::backend::run(&words).await.map(|()| true),
        (_, true) => overload::backend::run(&words).await.map(|()| true),
        _ => experiments(words).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether they were made and passed.
async fn experiments(words: Vec<String>) -> Result<bool> {
    match Options::read(words) {
        Ok(options) => tokio::select! {
            done = run(&options) => done,
            stopped = interrupted() => Err(stopped),
        },
        Err(failure) => Err(failure),
    }
}

/// Whether all experiments were made and passed.
async fn run(options: &Options) -> Result<bool> {
    eprintln!("up to {} open descriptors", limits::raise_descriptors()?);
    let mut passed = true;
    for experiment in &options.experiments {
        eprintln!("\n== {}", experiment.name());
        match experiment.run(&options.server, options.gateway.as_deref()).await {
            Ok(report) => passed &= show(*experiment, &report, options)?,
            Err(failure) => {
                eprintln!("{}: {failure}", experiment.name());
                passed = false;
            }
        }
    }
    Ok(passed)
}

fn show(experiment: Experiment, report: &Report, options: &Options) -> Result<bool> {
    let table = format!("{}\n{}", report.markdown(), options.note);
    println!("{}\n", table.trim_end());
    for miss in report.misses() {
        eprintln!("missed: {miss}");
    }
    if let Some(file) = &options.write {
        write(file, experiment.name(), &table)?;
    }
    Ok(report.misses().is_empty())
}

fn write(file: &Path, name: &str, table: &str) -> Result {
    let text = std::fs::read_to_string(file)?;
    Ok(std::fs::write(file, marks::replaced(&text, name, table)?)?)
}

/// Answers when somebody wants an end; what runs is then dropped, and its processes with it.
async fn interrupted() -> Failure {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Failure::new("interrupted"),
        _ = terminate.recv() => Failure::new("terminated"),
    }
}
