//! What it costs to count somebody: portcullis beside governor, the layer beside `tower_governor`.
use std::path::PathBuf;

use super::authz::beside_first;
use super::conditions;
use super::instructions::{costs, counted, publish};
use super::sessions::{build_peers, median};
use super::table::{markdown, number};
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

/// Ours, and that of others, as seen from where our own programs are.
const PEER: &str = "../peers/release/limits";
/// How often each is timed, in turn, so that a noisy while touches both.
const ROUNDS: usize = 5;

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    build_peers(workspace, "limits")?;
    let layer = costs(workspace, "limit-layer")?;
    let peers = counted(workspace, PEER)?;
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("times, round {round} of {ROUNDS}");
        for program in ["limits", PEER] {
            let run = Cmd::new("env").arg(workspace.program(program).display().to_string());
            let run = run.arg("time");
            let said: Vec<_> = run.read()?.lines().filter_map(time).collect();
            if said.is_empty() {
                return Err(Failure::of(&run, "it says no figures"));
            }
            times.extend(said);
        }
    }
    let tables = [checks(&times), beside_first(&layer), beside_first(&peers)].join("\n");
    let conditions = conditions("cargo xtask bench limits")?;
    publish(workspace, file, &format!("{tables}\n{conditions}\n"), "limits")
}

/// What was measured once.
#[derive(Clone, Debug, PartialEq)]
struct Time {
    check: String,
    keys: f64,
    /// Nanoseconds with one thread, and with two; bytes for each key.
    figures: [f64; 3],
}

/// `CHECK: 10 keys, 27.1 ns, 28.0 ns, 16 bytes`.
fn time(line: &str) -> Option<Time> {
    let (check, figures) = line.rsplit_once(": ")?;
    let mut figures = figures.split(", ");
    let mut next = |unit| figures.next()?.strip_suffix(unit)?.trim().parse::<f64>().ok();
    let keys = next("keys")?;
    let figures = [next("ns")?, next("ns")?, next("bytes")?];
    Some(Time { check: check.to_owned(), keys, figures })
}

/// A row for each check with so many keys.
fn checks(times: &[Time]) -> String {
    let head = ["a check", "keys", "one thread", "two at once", "bytes a key"];
    let mut rows: Vec<(String, f64)> = Vec::new();
    for Time { check, keys, .. } in times {
        if !rows.iter().any(|(name, of)| name == check && of.total_cmp(keys).is_eq()) {
            rows.push((check.clone(), *keys));
        }
    }
    rows.sort_by(|one, other| one.1.total_cmp(&other.1));
    let rows = rows.into_iter().map(|(check, keys)| {
        let its = |time: &&Time| time.check == check && time.keys.total_cmp(&keys).is_eq();
        let its: Vec<_> = times.iter().filter(its).map(|time| time.figures).collect();
        let middle = |at: usize| {
            let its = its.iter().filter_map(|figures| figures.get(at).copied());
            median(its.collect()).map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"))
        };
        // One key takes a table of its own.
        let bytes = if keys > 1.0 { middle(2) } else { "-".to_owned() };
        let times = [middle(0), middle(1)].map(|time| format!("{time} ns"));
        let [one, two] = times;
        vec![check.clone(), number(keys), one, two, bytes]
    });
    markdown(&head, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured() {
        let read = time("governor: 1000000 keys, 290.5 ns, 640.0 ns, 48 bytes").unwrap();
        assert_eq!((read.check.as_str(), read.keys), ("governor", 1e6));
        assert_eq!(read.figures.map(|figure| figure.to_string()), ["290.5", "640", "48"]);
        assert_eq!(time("governor: nothing"), None);
    }

    #[test]
    fn each_check_has_a_row_for_each_number_of_keys() {
        let lines = [
            "b: 1 keys, 9 ns, 21 ns, 8192 bytes",
            "a: 1000000 keys, 100 ns, 200 ns, 38 bytes",
            "a: 1 keys, 7 ns, 8 ns, 8192 bytes",
            "a: 1 keys, 9 ns, 9 ns, 8192 bytes",
            "a: 1 keys, 8 ns, 10 ns, 8192 bytes",
        ];
        let table = checks(&lines.iter().filter_map(|line| time(line)).collect::<Vec<_>>());
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| b | 1 | 9 ns | 21 ns | - |",
                "| a | 1 | 8 ns | 9 ns | - |",
                "| a | 1 000 000 | 100 ns | 200 ns | 38 |"
            ]
        );
    }
}
