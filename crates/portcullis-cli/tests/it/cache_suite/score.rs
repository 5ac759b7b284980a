//! What the tests come to, with what they depend on.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::definition::{Kind, Test};
use super::judge::{Fault, Verdict};

/// What a test comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// What it builds on does not hold.
    Dependency,
    Setup,
    Retry,
}

/// All tests with what became of them.
pub(super) struct Score<'a> {
    tests: Vec<(&'a Test, &'a Verdict, Outcome)>,
}

impl<'a> Score<'a> {
    pub(super) fn new(results: &'a [(impl AsRef<Test>, Verdict)]) -> Self {
        let by_id: BTreeMap<&str, (&Test, &Verdict)> = results
            .iter()
            .map(|(test, verdict)| (test.as_ref().id.as_str(), (test.as_ref(), verdict)))
            .collect();
        assert_eq!(by_id.len(), results.len(), "two tests have one name");
        let tests = by_id.values().map(|(test, verdict)| {
            (*test, *verdict, outcome(&by_id, &test.id).expect("it is one of them"))
        });
        Self { tests: tests.collect() }
    }
    pub(super) fn count(&self, kind: Kind, outcome: Option<Outcome>) -> usize {
        let of_kind = self.tests.iter().filter(|(test, ..)| test.kind == kind);
        of_kind.filter(|(.., is)| outcome.is_none_or(|outcome| outcome == *is)).count()
    }
    /// Those that passed, whatever became of those they build on.
    pub(super) fn raw(&self, kind: Kind) -> usize {
        self.tests.iter().filter(|(test, verdict, _)| test.kind == kind && verdict.is_ok()).count()
    }
    /// The names of those that have not passed.
    pub(super) fn misses(&self, kind: Kind) -> BTreeSet<String> {
        let missed = self.tests.iter().filter(|(.., outcome)| *outcome != Outcome::Passed);
        missed.filter(|(test, ..)| test.kind == kind).map(|(test, ..)| test.id.clone()).collect()
    }
    /// One line for each kind, and one for each miss.
    pub(super) fn table(&self) -> String {
        use Outcome::{Dependency, Failed, Passed, Retry, Setup};
        let mut text = String::from(
            "| kind | of | passed | failed | dependency | setup | retry | by itself |\n|---|---|---|---|---|---|---|---|\n",
        );
        for kind in Kind::ALL {
            write!(text, "| {} | {} ", kind.name(), self.count(kind, None)).unwrap();
            for outcome in [Passed, Failed, Dependency, Setup, Retry] {
                write!(text, "| {} ", self.count(kind, Some(outcome))).unwrap();
            }
            writeln!(text, "| {} |", self.raw(kind)).unwrap();
        }
        for kind in Kind::ALL {
            for (test, verdict, outcome) in &self.tests {
                if test.kind != kind || *outcome == Passed {
                    continue;
                }
                let why = match verdict {
                    Ok(()) => "passes by itself",
                    Err(Fault::Retry) => "the origin saw a request twice",
                    Err(Fault::Setup(why) | Fault::Failed(why)) => why,
                };
                writeln!(text, "{} {} {outcome:?}: {why}", kind.name(), test.id).unwrap();
            }
        }
        text
    }
}

fn outcome(tests: &BTreeMap<&str, (&Test, &Verdict)>, id: &str) -> Option<Outcome> {
    let (test, verdict) = tests.get(id)?;
    let builds_on = |id: &String| outcome(tests, id) == Some(Outcome::Passed);
    Some(match verdict {
        _ if !test.depends_on.iter().all(builds_on) => Outcome::Dependency,
        Ok(()) => Outcome::Passed,
        Err(Fault::Setup(_)) => Outcome::Setup,
        Err(Fault::Retry) => Outcome::Retry,
        Err(Fault::Failed(_)) => Outcome::Failed,
    })
}
