//! What a decision about a caller costs: portcullis beside casbin and Cedar, the layer by itself, and what it takes to compile and to change roles.
use std::path::PathBuf;

use super::conditions;
use super::instructions::{Counts, costs, publish};
use super::sessions::{build_peers, median};
use super::table::{difference, markdown, number};
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

/// Ours, and that of others, as seen from where our own programs are.
const PROGRAMS: [&str; 2] = ["authz", "../peers/release/authz"];
const LAYER: &str = "authz-layer";
/// How often each is timed, in turn, so that a noisy while touches both.
const ROUNDS: usize = 5;

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    build_peers(workspace, "authz")?;
    let layer = costs(workspace, LAYER)?;
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("times, round {round} of {ROUNDS}");
        for program in PROGRAMS {
            times.extend(said(workspace, program, "time")?.iter().filter_map(|line| time(line)));
        }
    }
    let compile = said(workspace, "authz", "compile")?;
    let tables = [decisions(&times), beside_first(&layer), compiled(&compile)].join("\n");
    let conditions = conditions("cargo xtask bench authz")?;
    publish(workspace, file, &format!("{tables}\n{conditions}\n"), "authz")
}

/// What a program says when it is asked for this.
fn said(workspace: &Workspace, program: &str, what: &str) -> Result<Vec<String>> {
    let run = Cmd::new("env").arg(workspace.program(program).display().to_string()).arg(what);
    let said = run.read()?;
    let lines: Vec<_> =
        said.lines().filter(|line| line.contains(": ")).map(str::to_owned).collect();
    if lines.is_empty() { Err(Failure::of(&run, "it says no figures")) } else { Ok(lines) }
}

/// What was measured once.
#[derive(Clone, Debug, PartialEq)]
struct Time {
    check: String,
    rules: u32,
    /// With one thread, and with two.
    nanos: [f64; 2],
    allocations: f64,
}

/// `CHECK: 10 rules, 27.1 ns, 28.0 ns, 0.00 allocations`.
fn time(line: &str) -> Option<Time> {
    let (check, figures) = line.rsplit_once(": ")?;
    let mut figures = figures.split(", ");
    let mut next = |unit| figures.next()?.strip_suffix(unit)?.trim().parse::<f64>().ok();
    let rules = next("rules")?;
    let nanos = [next("ns")?, next("ns")?];
    let allocations = next("allocations")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was whole")]
    Some(Time { check: check.to_owned(), rules: rules as u32, nanos, allocations })
}

/// A row for each check, a column for each number of rules.
fn decisions(times: &[Time]) -> String {
    let (mut checks, mut sizes): (Vec<&str>, Vec<u32>) = (Vec::new(), Vec::new());
    for Time { check, rules, .. } in times {
        if !checks.contains(&check.as_str()) {
            checks.push(check);
        }
        if !sizes.contains(rules) {
            sizes.push(*rules);
        }
    }
    let mut head = vec!["a decision, one thread / two at once".to_owned()];
    head.extend(sizes.iter().map(|size| format!("{} rules", number(f64::from(*size)))));
    head.push("allocations".to_owned());
    let rows = checks.into_iter().map(|check| {
        let mut row = vec![check.to_owned()];
        row.extend(sizes.iter().map(|size| {
            let those = times.iter().filter(|time| time.check == check && time.rules == *size);
            let those: Vec<_> = those.map(|time| time.nanos).collect();
            let one = median(those.iter().map(|[one, _]| *one).collect());
            let two = median(those.iter().map(|[_, two]| *two).collect());
            one.zip(two).map_or_else(|| "-".to_owned(), |(one, two)| both(one, two))
        }));
        let allocations = times.iter().filter(|time| time.check == check);
        row.push(range(allocations.map(|time| time.allocations).collect()));
        row
    });
    let rows: Vec<_> = rows.collect();
    markdown(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

/// Two times in one unit.
fn both(one: f64, two: f64) -> String {
    let (unit, name) = match one {
        _ if one < 1e3 => (1.0, "ns"),
        _ if one < 1e6 => (1e3, "us"),
        _ => (1e6, "ms"),
    };
    let digits = usize::from(unit > 1.0);
    format!("{:.digits$} / {:.digits$} {name}", one / unit, two / unit)
}

/// The least and the most of some numbers, where they differ.
fn range(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let whole = |value: Option<&f64>| value.map_or_else(String::new, |value| number(value.round()));
    let (least, most) = (whole(values.first()), whole(values.last()));
    if least == most { least } else { format!("{least} to {most}") }
}

/// A row for each variant, beside the first.
pub(super) fn beside_first(costs: &[(String, Counts)]) -> String {
    let head = ["variant", "instructions a request", "beside no layer", "allocations a request"];
    let first = costs.first().map_or(0.0, |(_, counts)| counts.instructions);
    let rows = costs.iter().enumerate().map(|(at, (variant, counts))| {
        let beside = difference(counts.instructions - first);
        let beside = if at == 0 { String::new() } else { beside };
        vec![variant.clone(), number(counts.instructions), beside, number(counts.allocations)]
    });
    markdown(&head, &rows.collect::<Vec<_>>())
}

/// `WHAT: 12 ms, 34 KiB`.
fn compiled(lines: &[String]) -> String {
    let rows = lines.iter().filter_map(|line| {
        let (what, figures) = line.rsplit_once(": ")?;
        let (time, memory) = figures.split_once(", ")?;
        Some(vec![what.to_owned(), time.to_owned(), memory.to_owned()])
    });
    markdown(&["to compile or to change", "time", "memory"], &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured() {
        let line = "casbin, allowed: 10000 rules, 7600000.1 ns, 7700000.0 ns, 12.50 allocations";
        let time = time(line).unwrap();
        assert_eq!((time.check.as_str(), time.rules), ("casbin, allowed", 10_000));
        assert_eq!((time.nanos, time.allocations), ([7_600_000.1, 7_700_000.0], 12.5));
        assert_eq!(super::time("casbin, allowed: nothing"), None);
    }

    #[test]
    fn each_check_has_a_row_with_a_cell_for_each_number_of_rules() {
        let times =
            ["a: 10 rules, 9 ns, 21 ns, 0 allocations", "a: 10 rules, 1 ns, 2 ns, 0 allocations"];
        let more = [
            "a: 10 rules, 7 ns, 8 ns, 0 allocations",
            "b: 5000 rules, 2500 ns, 3000 ns, 3 allocations",
        ];
        let times: Vec<_> = times.iter().chain(&more).filter_map(|line| time(line)).collect();
        let table = decisions(&times);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| a | 7 / 8 ns | - | 0 |", "| b | - | 2.5 / 3.0 us | 3 |"]);
        assert_eq!(range(vec![40.0, 3.0]), "3 to 40");
    }

    #[test]
    fn variants_stand_beside_the_first() {
        let counts = |instructions| Counts { instructions, allocations: 2.0 };
        let table = beside_first(&[("a".to_owned(), counts(10.0)), ("b".to_owned(), counts(7.0))]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| a | 10 |  | 2 |", "| b | 7 | -3 | 2 |"]);
    }

    #[test]
    fn what_it_took_to_compile_is_read() {
        let table = compiled(&["a change, of one: 1.5 ms, -".to_owned()]);
        assert_eq!(table.lines().nth(2), Some("| a change, of one | 1.5 ms | - |"));
    }
}
