//! One fault under load, and what became of the answers.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::app::App;
use super::load::{Answer, Load, Verdict};
use crate::failure::Result;
use crate::numbers::{count, seconds};
use crate::report::Report;

pub(super) const HEAD: [&str; 7] =
    ["what happens", "answers", "503", "wrong", "longest check", "at most", "right again after"];
/// Within this time everything must be right again.
const RECOVERY: Duration = Duration::from_secs(2);
/// What a machine with other work may add to a time limit.
const SLACK: Duration = Duration::from_millis(250);

pub(super) struct Trial {
    load: Load,
}

impl Trial {
    /// The load has run for a moment when this returns.
    pub(super) async fn begin(app: &App) -> Result<Self> {
        let load = Load::start(app.address()).await?;
        sleep(Duration::from_millis(500)).await;
        Ok(Self { load })
    }
    /// The fault is over now. A check must not have taken longer than `limit`; where the fault `must_show`, something must have been answered 503.
    pub(super) async fn end(
        self,
        what: &str,
        limit: Duration,
        must_show: bool,
        report: &mut Report,
    ) -> Result {
        let back = Instant::now();
        sleep(RECOVERY + Duration::from_millis(500)).await;
        eprintln!("{what}");
        let outcome = Outcome::of(&self.load.stop().await, back);
        outcome.judge(what, limit + SLACK, must_show, report);
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    answers: usize,
    unavailable: usize,
    wrong: usize,
    /// What took longest of the checks.
    longest: Duration,
    /// How long it was from the end of the fault until every client had a right answer, and none had another from then on.
    recovery: Option<Duration>,
}

impl Outcome {
    /// What became of the answers of each client.
    fn of(clients: &[Vec<Answer>], back: Instant) -> Self {
        let answers = || clients.iter().flatten();
        let of = |verdict| answers().filter(|answer| answer.verdict == verdict).count();
        let checks = answers().filter(|answer| answer.is_check);
        let recovered: Option<Vec<_>> =
            clients.iter().map(|client| recovered(client, back)).collect();
        let recovered = recovered.and_then(|all| all.into_iter().max());
        Self {
            answers: answers().count(),
            unavailable: of(Verdict::Unavailable),
            wrong: of(Verdict::Wrong),
            longest: checks.map(|answer| answer.took).max().unwrap_or_default(),
            recovery: recovered.map(|at| at.saturating_duration_since(back)),
        }
    }
    fn judge(&self, what: &str, limit: Duration, must_show: bool, report: &mut Report) {
        let recovery = self.recovery.map_or("never".to_owned(), seconds);
        let marks = [
            (count(self.answers as u64), true),
            (count(self.unavailable as u64), self.unavailable > 0 || !must_show),
            (count(self.wrong as u64), self.wrong == 0),
            (seconds(self.longest), self.longest <= limit),
            (seconds(limit), true),
            (recovery, self.recovery.is_some_and(|time| time <= RECOVERY)),
        ];
        if marks.iter().any(|(_, met)| !met) {
            report.miss(format!("{what}: {self:?}"));
        }
        let bold = |(text, met): (String, bool)| if met { text } else { format!("**{text}**") };
        report.row([what.to_owned()].into_iter().chain(marks.map(bold)).collect());
    }
}

/// When the first right answer came behind the fault, and behind the last one that was not right.
fn recovered(client: &[Answer], back: Instant) -> Option<Instant> {
    let bad = client.iter().rposition(|answer| answer.verdict != Verdict::Right);
    let good = client.iter().skip(bad.map_or(0, |at| at + 1));
    good.map(Answer::came).find(|came| *came >= back)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn what_comes_late_or_wrong_or_not_at_all_is_found() {
        let (back, is_check) = (Instant::now() + 10 * SECOND, true);
        let answer = |began, took, verdict| Answer { began, took, is_check, verdict };
        let before = answer(back - 9 * SECOND, SECOND / 100, Verdict::Right);
        let right = |after| answer(back + after, SECOND / 100, Verdict::Right);
        let bad = |began, took| answer(began, took, Verdict::Unavailable);
        for (what, own, met) in [
            ("right", vec![before, right(SECOND)], true),
            ("503 in time", vec![before, bad(back - SECOND, SECOND), right(SECOND)], true),
            ("503 late", vec![before, bad(back - 2 * SECOND, 2 * SECOND), right(SECOND)], false),
            ("right late", vec![before, right(3 * SECOND)], false),
            (
                "503 again",
                vec![right(SECOND), bad(back + SECOND, SECOND), right(3 * SECOND)],
                false,
            ),
            ("nothing", vec![before], false),
            ("503 to the end", vec![right(SECOND), bad(back + SECOND, SECOND)], false),
            ("wrong", vec![answer(back - SECOND, SECOND, Verdict::Wrong), right(SECOND)], false),
        ] {
            let mut report = Report::new(&HEAD);
            let clients = [vec![right(SECOND)], own];
            Outcome::of(&clients, back).judge("it", SECOND, false, &mut report);
            assert_eq!(report.misses().is_empty(), met, "{what}");
        }
        let mut report = Report::new(&HEAD);
        Outcome::of(&[vec![right(SECOND)]], back).judge("it", SECOND, true, &mut report);
        assert_eq!(report.misses().len(), 1, "nobody has seen the fault");
    }
}
