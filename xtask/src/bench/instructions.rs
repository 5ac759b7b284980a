//! Instructions and allocations for each request, counted by callgrind and by the allocator of the benchmark.
//!
//! Each variant runs twice with different numbers of requests: the difference is free of what starting costs.
use std::path::PathBuf;

use super::conditions;
use super::table::{difference, markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

pub(super) const FEW: u32 = 1000;
pub(super) const MANY: u32 = 3000;
const HEAD: [&str; 5] =
    ["variant", "instructions a request", "difference", "allocations a request", "difference"];

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    let costs = costs(workspace, "portcullis-benches")?;
    let conditions = conditions("cargo xtask bench instructions")?;
    publish(workspace, file, &format!("{}\n{conditions}\n", table(&costs)), "instructions")
}

/// What each variant of a program costs.
pub(super) fn costs(workspace: &Workspace, program: &'static str) -> Result<Vec<(String, Counts)>> {
    if find("valgrind").is_none() {
        tools::apt(&["valgrind"])?;
    }
    Cmd::new("cargo build --release -p portcullis-benches").run()?;
    counted(workspace, program)
}

/// The same of a program that is there.
pub(super) fn counted(
    workspace: &Workspace,
    program: &'static str,
) -> Result<Vec<(String, Counts)>> {
    let bench = Bench { workspace, program };
    let mut costs = Vec::new();
    for variant in bench.variants()? {
        eprintln!("{variant}");
        let (few, many) = (bench.run(&variant, FEW)?, bench.run(&variant, MANY)?);
        costs.push((variant, many.each(few)));
    }
    Ok(costs)
}

/// Shows a table, and puts it between its marks in `file`.
pub(super) fn publish(
    workspace: &Workspace,
    file: Option<PathBuf>,
    table: &str,
    mark: &str,
) -> Result {
    println!("{table}");
    match file {
        None => Ok(()),
        Some(file) => {
            let file = workspace.root.join(file);
            let text = std::fs::read_to_string(&file)?;
            Ok(std::fs::write(&file, replaced(&text, table, mark)?)?)
        }
    }
}

/// What was counted over all requests of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) instructions: f64,
    pub(super) allocations: f64,
}

impl Counts {
    /// The counts of one request, where `self` had [`MANY`] and `few` had [`FEW`].
    fn each(self, few: Self) -> Self {
        let requests = f64::from(MANY - FEW);
        Self {
            instructions: (self.instructions - few.instructions) / requests,
            allocations: (self.allocations - few.allocations) / requests,
        }
    }
}

struct Bench<'a> {
    workspace: &'a Workspace,
    program: &'static str,
}

impl Bench<'_> {
    fn program(&self) -> String {
        self.workspace.program(self.program).display().to_string()
    }
    fn variants(&self) -> Result<Vec<String>> {
        let list = Cmd::new("env").arg(self.program()).arg("list").read()?;
        Ok(list.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
    fn run(&self, variant: &str, requests: u32) -> Result<Counts> {
        let profile = self.workspace.root.join("target/callgrind.out");
        let callgrind = Cmd::new("valgrind --quiet --tool=callgrind");
        let callgrind = callgrind.arg(format!("--callgrind-out-file={}", profile.display()));
        let run = callgrind.arg(self.program()).args(["run", variant]).arg(requests.to_string());
        let said = run.read()?;
        let profile = std::fs::read_to_string(profile)?;
        let unreadable =
            |what: &str| Failure::of(&run, format!("there is no `{what}` in what it wrote"));
        Ok(Counts {
            instructions: after("summary:", &profile).ok_or_else(|| unreadable("summary:"))?,
            allocations: after("allocations ", &said).ok_or_else(|| unreadable("allocations"))?,
        })
    }
}

/// The number behind `name` at the beginning of a line.
fn after(name: &str, text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(super) fn table(costs: &[(String, Counts)]) -> String {
    let mut before: Option<Counts> = None;
    let rows: Vec<Vec<String>> = costs
        .iter()
        .map(|(variant, counts)| {
            let last = before.replace(*counts);
            let change = |now: f64, of: fn(Counts) -> f64| {
                last.map_or_else(String::new, |last| difference(now - of(last)))
            };
            vec![
                variant.clone(),
                number(counts.instructions),
                change(counts.instructions, |counts| counts.instructions),
                number(counts.allocations),
                change(counts.allocations, |counts| counts.allocations),
            ]
        })
        .collect();
    markdown(&HEAD, &rows)
}

/// `text` with `table` between the two marks.
fn replaced(text: &str, table: &str, mark: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench:{mark} -->"), format!("<!-- /bench:{mark} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{}\n{end}{behind}", table.trim_end()))
    });
    parts.ok_or_else(|| Failure::new(format!("the file has no {begin} with {end} behind it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_where_they_stand() {
        let profile = "version: 1\nevents: Ir\nsummary: 123456\nfn=(1) main\ntotals: 99\n";
        assert_eq!(after("summary:", profile), Some(123_456.0));
        let said = "allocations 4000\nbytes 512000\n";
        assert_eq!(after("allocations ", said), Some(4000.0));
        assert_eq!(after("allocations ", "bytes 1\n"), None);
    }

    #[test]
    fn what_starting_costs_is_left_out() {
        let few = Counts { instructions: 5_000_000.0, allocations: 1040.0 };
        let many = Counts { instructions: 9_000_000.0, allocations: 3040.0 };
        let each = many.each(few);
        let dearer = Counts { instructions: 2500.0, allocations: 1.5 };
        let table = table(&[("bare".to_owned(), each), ("edge".to_owned(), dearer)]);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| bare | 2 000 |  | 1 |  |", "| edge | 2 500 | +500 | 1.5 | +0.5 |"]);
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let with =
            |table| format!("before\n<!-- bench:a -->\n{table}\n<!-- /bench:a -->\nbehind\n");
        assert_eq!(replaced(&with("old"), "new\n", "a").unwrap(), with("new"));
        assert_eq!(replaced(&with("new"), "new\n", "a").unwrap(), with("new"));
        assert!(replaced(&with("old"), "new", "b").is_err());
    }
}
