//! What it costs to know a browser by its session, with each store: portcullis beside axum-login with tower-sessions.
use std::path::PathBuf;

use super::conditions;
use super::instructions::{Counts, costs, publish};
use super::table::{markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, services, tools};

const OWN: &str = "session-check";
/// As seen from where our own programs are: what others use is built in a directory beside them.
const PEERS: &str = "../peers/release/sessions";
/// How often each is timed, in turn, so that a noisy while touches both.
const ROUNDS: usize = 5;
const HEAD: [&str; 7] = [
    "variant",
    "instructions: portcullis",
    "instructions: axum-login",
    "allocations: portcullis",
    "allocations: axum-login",
    "time: portcullis",
    "time: axum-login",
];

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    services::main()?;
    build_peers(workspace, "sessions")?;
    let costs = [costs(workspace, OWN)?, costs(workspace, PEERS)?];
    let mut times = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        eprintln!("times, round {round} of {ROUNDS}");
        for (program, times) in [OWN, PEERS].into_iter().zip(&mut times) {
            times.extend(time(workspace, program)?);
        }
    }
    let conditions = conditions("cargo xtask bench sessions")?;
    publish(workspace, file, &format!("{}\n{conditions}\n", table(&costs, &times)), "sessions")
}

/// Builds what others use, in a directory beside our own.
pub(super) fn build_peers(workspace: &Workspace, program: &str) -> Result {
    if find("cmake").is_none() {
        tools::apt(&["cmake"])?;
    }
    let own = workspace.program(OWN);
    let target = own.ancestors().nth(2).ok_or_else(|| Failure::new("there is no target folder"))?;
    Cmd::new("cargo build --release --manifest-path benches/peers/Cargo.toml --bin")
        .arg(program)
        .env("CARGO_TARGET_DIR", target.join("peers").display().to_string())
        .run()
}

/// The microseconds of a request, one after the other, for each variant of a program.
fn time(workspace: &Workspace, program: &str) -> Result<Vec<(String, f64)>> {
    let run = Cmd::new("env").arg(workspace.program(program).display().to_string()).arg("time");
    let said = run.read()?;
    let times = said.lines().filter_map(|line| {
        let (variant, time) = line.split_once(": ")?;
        Some((variant.to_owned(), time.strip_suffix(" us")?.parse().ok()?))
    });
    let times: Vec<_> = times.collect();
    if times.is_empty() { Err(Failure::of(&run, "it says no times")) } else { Ok(times) }
}

/// A row for each variant of either.
fn table(costs: &[Vec<(String, Counts)>; 2], times: &[Vec<(String, f64)>; 2]) -> String {
    let mut variants: Vec<&String> = Vec::new();
    for (variant, _) in costs.iter().flatten() {
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    let rows = variants.into_iter().map(|variant| {
        let count = |costs: &[(String, Counts)], of: fn(&Counts) -> f64| {
            let counts = costs.iter().find(|(name, _)| name == variant);
            counts.map_or_else(none, |(_, counts)| number(of(counts)))
        };
        let instructions = costs.each_ref().map(|costs| count(costs, |counts| counts.instructions));
        let allocations = costs.each_ref().map(|costs| count(costs, |counts| counts.allocations));
        let times = times.each_ref().map(|times| {
            let times = times.iter().filter(|(name, _)| name == variant);
            let time = median(times.map(|(_, time)| *time).collect());
            time.map_or_else(none, |time| format!("{time:.2} us"))
        });
        [vec![variant.clone()], instructions.into(), allocations.into(), times.into()].concat()
    });
    markdown(&HEAD, &rows.collect::<Vec<_>>())
}

/// What stands where one of the two has no such variant.
fn none() -> String {
    "-".to_owned()
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_has_a_row_with_both() {
        let counts = |instructions| Counts { instructions, allocations: 9.0 };
        let named = |name: &str, instructions| (name.to_owned(), counts(instructions));
        let costs = [vec![named("a", 1000.0)], vec![named("a", 2000.0), named("b", 3.0)]];
        let time = |time| ("a".to_owned(), time);
        let times = [vec![time(3.0), time(1.0), time(2.0)], vec![time(4.0)]];
        let table = table(&costs, &times);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let want =
            ["| a | 1 000 | 2 000 | 9 | 9 | 2.00 us | 4.00 us |", "| b | - | 3 | - | 9 | - | - |"];
        assert_eq!(rows, want);
    }
}
