//! What the server costs beside bare hyper: instructions, allocations and system calls of a request, memory of an idle connection.
use std::path::PathBuf;

use super::conditions;
use super::instructions::{FEW, MANY, costs, publish};
use super::table::{difference, markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

const HEAD: [&str; 5] = [
    "variant",
    "instructions a request",
    "beside bare hyper",
    "allocations a request",
    "system calls a request",
];

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    if find("strace").is_none() {
        tools::apt(&["strace"])?;
    }
    let costs = costs(workspace, "server")?;
    let program = workspace.program("server").display().to_string();
    let mut rows = Vec::new();
    let mut bare = 0.0;
    for (variant, counts) in &costs {
        let calls = system_calls(&program, variant, MANY)? - system_calls(&program, variant, FEW)?;
        // Bare hyper and the server stand in turn.
        let beside = if rows.len() % 2 == 0 {
            String::new()
        } else {
            difference(counts.instructions - bare)
        };
        bare = counts.instructions;
        rows.push(vec![
            variant.clone(),
            number(counts.instructions),
            beside,
            number(counts.allocations),
            format!("{:.2}", calls / f64::from(MANY - FEW)),
        ]);
    }
    let idle = Cmd::new("env").arg(&program).arg("idle").read()?;
    let idle: Vec<_> = idle.lines().filter_map(|line| line.split_once(": ")).collect();
    let idle: Vec<_> =
        idle.iter().map(|(name, bytes)| vec![(*name).to_owned(), (*bytes).to_owned()]).collect();
    let table = format!(
        "{}\n{}\n{}\n",
        markdown(&HEAD, &rows),
        markdown(&["idle connection", "memory"], &idle),
        conditions("cargo xtask bench server")?
    );
    publish(workspace, file, &table, "server")
}

/// How many system calls a run makes, on all its threads.
fn system_calls(program: &str, variant: &str, requests: u32) -> Result<f64> {
    let run = Cmd::new("strace -f -c -o /dev/stdout env").arg(program).args(["run", variant]);
    let run = run.arg(requests.to_string());
    let said = run.read()?;
    let total = said.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or_else(|| Failure::of(&run, "there is no total in what it said"))
}
