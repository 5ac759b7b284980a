//! What many routes and upstreams cost: the table by itself, and the program that serves them from a file.
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::conditions;
use super::instructions::publish;
use super::table::markdown;
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

const UPSTREAMS: usize = 1_000;

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    Cmd::new("cargo build --release --package portcullis-cli --package portcullis-benches")
        .run()?;
    let said = Cmd::new("env").arg(workspace.program("routes").display().to_string()).read()?;
    let mut rows = Vec::new();
    for line in said.lines() {
        let wrong = || Failure::new(format!("the bench said `{line}`"));
        let (routes, figures) = line.split_once(" routes: ").ok_or_else(wrong)?;
        let mut row = vec![routes.to_owned()];
        row.extend(figures.split(", ").map(str::to_owned));
        let count = routes.parse().map_err(|_| wrong())?;
        let (start, memory) = program(workspace, count)?;
        row.extend([format!("{start:.0} ms"), format!("{memory:.1} MiB")]);
        rows.push(row);
    }
    let head = [
        "routes",
        "making the table",
        "memory of the table",
        "look-up",
        "start of the program, to `ready`",
        "memory of the program",
    ];
    let table =
        format!("{}\n{}\n", markdown(&head, &rows), conditions("cargo xtask bench routes")?);
    publish(workspace, file, &table, "routes")
}

/// Milliseconds until it is ready, and mebibytes that it holds then.
fn program(workspace: &Workspace, routes: usize) -> Result<(f64, f64)> {
    let mut text = "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n".to_owned();
    let upstreams = UPSTREAMS.min(routes);
    for number in 0..upstreams {
        let (high, low) = (number / 250, number % 250 + 1);
        _ = writeln!(text, "[upstreams.u{number}]\nservers = [\"http://10.0.{high}.{low}:80\"]");
    }
    for number in 0..routes {
        let (host, to) = (number % 1_000, number % upstreams);
        _ = writeln!(
            text,
            "[[routes]]\nmatch = {{ path = \"/service-{number}/{{*rest}}\", hosts = [\"h{host}.example\"] }}\naccess = \"public\"\nto = \"u{to}\""
        );
    }
    let path =
        std::env::temp_dir().join(format!("portcullis-bench-{}-{routes}.toml", std::process::id()));
    std::fs::write(&path, text)?;
    // The program says itself when it began, and when it is ready: `date` before, and the first line that it writes.
    let started = now()?;
    let mut child = Command::new(workspace.program("portcullis"))
        .arg("serve")
        .arg("--config")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or_else(|| Failure::new("it has no output"))?;
    let ready = BufReader::new(output)
        .lines()
        .map_while(std::result::Result::ok)
        .any(|line| line == "ready");
    let took = now()? - started;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    child.kill()?;
    child.wait()?;
    std::fs::remove_file(&path)?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    match (ready, memory) {
        (true, Some(kibibytes)) => Ok((took, kibibytes / 1024.0)),
        _ => Err(Failure::new("the program was not ready")),
    }
}

/// Milliseconds since the machine started.
fn now() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let seconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    seconds.map(|seconds| seconds * 1e3).ok_or_else(|| Failure::new("/proc/uptime says nothing"))
}
