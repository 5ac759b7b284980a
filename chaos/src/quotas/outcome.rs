//! What became of the answers of one trial.
use std::time::Duration;

use tokio::time::Instant;

use super::load::Answer;
use super::{BURST, GATEWAYS, LEASE, Mode, RATE, RULES, Rule};
use crate::numbers::{count, millis, percentile, seconds};
use crate::report::Report;

pub(super) const HEAD: [&str; 11] = [
    "Redis",
    "answers",
    "neither 200 nor 429",
    "added, p99.9",
    "added, longest",
    "`open` lets through",
    "`local`, of its share",
    "`closed` lets through",
    "exact, of the limit",
    "leased, of the limit",
    "right again after",
];
/// What an answer may take longer than usual.
const ADDED: Duration = Duration::from_millis(50);
const RECOVERY: Duration = Duration::from_secs(1);
/// What Redis has said of a key that is used up holds for a moment.
const SAID: Duration = Duration::from_millis(200);

/// When was what.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) begin: Instant,
    pub(super) fault: Instant,
    pub(super) away: Option<(Instant, Instant)>,
    /// What was counted is gone behind the fault, which did not stop the counting.
    pub(super) forgets: bool,
    pub(super) back: Instant,
    pub(super) end: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    answers: usize,
    wrong: usize,
    /// What answers took longer than usual from the fault on: 999 of 1,000, and all.
    added: (Duration, Duration),
    /// While Redis was away.
    away: Option<Away>,
    /// What was let through while Redis was there, as a part of what may be.
    exact: f64,
    leased: f64,
    recovery: Duration,
}

#[derive(Debug, PartialEq)]
struct Away {
    /// How many of all, where everybody gets through.
    open: (usize, usize),
    /// The least and the most of a gateway, as a part of what may be.
    local: (f64, f64),
    /// Without leases, and the most of a gateway with them.
    closed: (usize, usize),
}

impl Outcome {
    pub(super) fn of(answers: &[Answer], times: &Times) -> Self {
        let wrong = answers.iter().filter(|answer| ![200, 429].contains(&answer.status)).count();
        let degraded =
            answers.iter().filter(|answer| answer.degraded && answer.came() > times.back);
        let last = degraded.map(Answer::came).max();
        Self {
            answers: answers.len(),
            wrong,
            added: added(answers, times),
            away: times.away.map(|away| Away::of(answers, away)),
            exact: there(answers, times, false),
            leased: there(answers, times, true),
            recovery: last.map_or(Duration::ZERO, |last| last - times.back),
        }
    }
    pub(super) fn judge(&self, what: &str, report: &mut Report) {
        let none = || ("–".to_owned(), true);
        let [open, local, closed] = match &self.away {
            None => [none(), none(), none()],
            Some(away) => away.cells(),
        };
        let times = |part: f64| (format!("{part:.2}"), part <= 1.0);
        let cells = [
            (count(self.answers as u64), true),
            (count(self.wrong as u64), self.wrong == 0),
            (millis(self.added.0), self.added.0 <= ADDED),
            (millis(self.added.1), self.added.1 <= ADDED),
            open,
            local,
            closed,
            times(self.exact),
            times(self.leased),
            (seconds(self.recovery), self.recovery <= RECOVERY),
        ];
        let mut row = vec![what.to_owned()];
        for ((cell, met), name) in cells.into_iter().zip(HEAD.into_iter().skip(1)) {
            if !met {
                report.miss(format!("Redis {what}: {name}: {cell}"));
            }
            row.push(if met { cell } else { format!("**{cell}**") });
        }
        report.row(row);
    }
}

/// Those let through that came and were answered in this time.
fn admitted(
    answers: &[Answer],
    (from, to): (Instant, Instant),
) -> impl Iterator<Item = &Answer> + Clone {
    answers.iter().filter(move |answer| answer.status == 200 && answer.is_within(from, to))
}

fn is(answer: &Answer, rule: impl Fn(&Rule) -> bool) -> bool {
    RULES.get(answer.rule).is_some_and(rule)
}

impl Away {
    fn of(answers: &[Answer], (from, to): (Instant, Instant)) -> Self {
        let opened = |answer: &&Answer| {
            is(answer, |rule| rule.mode == Mode::Open) && answer.is_within(from + SAID, to)
        };
        let through = answers.iter().filter(opened).filter(|answer| answer.status == 200).count();
        let open = (through, answers.iter().filter(opened).count());
        let of_gateway = |gateway: usize, mode: Mode, leased: bool| {
            let all = admitted(answers, (from, to)).filter(|answer| answer.gateway == gateway);
            all.filter(|answer| is(answer, |rule| rule.mode == mode && rule.leased == leased))
                .count()
        };
        let (mut local, mut closed) = ((f64::INFINITY, 0_f64), (0, 0));
        for gateway in 0..GATEWAYS {
            for leased in [false, true] {
                let ahead = if leased { f64::from(LEASE) } else { 0.0 };
                let share = may(to - from, 1) / real(GATEWAYS) + ahead;
                let part = real(of_gateway(gateway, Mode::Local, leased)) / share;
                local = (local.0.min(part), local.1.max(part));
            }
            closed.0 += of_gateway(gateway, Mode::Closed, false);
            closed.1 = closed.1.max(of_gateway(gateway, Mode::Closed, true));
        }
        Self { open, local, closed }
    }
    /// Of each mode, and whether it does as it says.
    fn cells(&self) -> [(String, bool); 3] {
        let Self { open: (through, all), local: (least, most), closed: (exact, leased) } = self;
        let is_all = through == all && *all > 0;
        [
            (if is_all { "all".to_owned() } else { format!("{through} of {all}") }, is_all),
            (format!("{least:.2} to {most:.2}"), *least >= 0.9 && *most <= 1.0),
            (format!("{exact}, of a lease {leased}"), *exact == 0 && *leased <= LEASE as usize),
        ]
    }
}

/// What the gateways let through of one limit while Redis was there, as a part of what may be: the most of all limits and times.
fn there(answers: &[Answer], times: &Times, leased: bool) -> f64 {
    let spans = if times.forgets {
        vec![(times.begin, times.end, 2)]
    } else {
        vec![(times.begin, times.fault, 1), (times.back + RECOVERY, times.end, 1)]
    };
    let mut most = 0_f64;
    for (rule, of) in RULES.iter().enumerate().filter(|(_, rule)| rule.leased == leased) {
        for (from, to, bursts) in &spans {
            let through = admitted(answers, (*from, *to)).filter(|answer| answer.rule == rule);
            let ahead = if of.leased { f64::from(LEASE) * real(GATEWAYS) } else { 0.0 };
            most = most.max(real(through.count()) / (may(*to - *from, *bursts) + ahead));
        }
    }
    most
}

/// How many a limit lets through in this time, with so many bursts.
fn may(time: Duration, bursts: u32) -> f64 {
    f64::from(BURST * bursts) + f64::from(RATE) * time.as_secs_f64()
}

/// What answers took longer than the usual one before the fault, from then on: 999 of 1,000, and all.
fn added(answers: &[Answer], times: &Times) -> (Duration, Duration) {
    let mut before: Vec<_> = answers
        .iter()
        .filter(|answer| answer.came() < times.fault)
        .map(|answer| answer.took)
        .collect();
    before.sort_unstable();
    let usual = percentile(&before, 50);
    let mut after: Vec<_> = answers
        .iter()
        .filter(|answer| answer.came() >= times.fault)
        .map(|answer| answer.took.saturating_sub(usual))
        .collect();
    after.sort_unstable();
    let rank = (after.len() * 999).div_ceil(1_000).max(1);
    let most = after.last().copied().unwrap_or_default();
    (after.get(rank - 1).copied().unwrap_or(most), most)
}

#[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Answers of one gateway and one limit, each of 1 ms, one every so many milliseconds of ten seconds.
    fn answers(
        begin: Instant,
        gateway: usize,
        rule: usize,
        every: u64,
        answer: impl Fn(u64) -> (u16, bool),
    ) -> Vec<Answer> {
        let of = |at| {
            let (status, degraded) = answer(at);
            Answer { gateway, rule, began: begin + ms(at), took: ms(1), status, degraded }
        };
        (0..10_000).step_by(usize::try_from(every).unwrap()).map(of).collect()
    }

    /// Redis is away from the third second to the sixth.
    fn times(begin: Instant) -> Times {
        let (fault, back) = (begin + ms(3_000), begin + ms(6_000));
        let away = Some((fault, back));
        Times { begin, fault, away, forgets: false, back, end: begin + ms(10_000) }
    }

    #[test]
    fn each_mode_is_held_to_what_it_says() {
        let begin = Instant::now();
        let is_away = |at| (3_000..6_000).contains(&at);
        // Each gateway lets through half of the limit, which is 160 in the three seconds without Redis.
        let right = |mode: Mode, at| match mode {
            _ if !is_away(at) => (200, false),
            Mode::Closed => (429, true),
            _ => (200, true),
        };
        let all = |odd: fn(Mode, u64) -> Option<(u16, bool)>| {
            let mut all = Vec::new();
            for gateway in 0..GATEWAYS {
                for (rule, of) in RULES.iter().enumerate() {
                    all.extend(answers(begin, gateway, rule, 20, |at| {
                        odd(of.mode, at).unwrap_or(right(of.mode, at))
                    }));
                }
            }
            let mut report = Report::new(&HEAD);
            Outcome::of(&all, &times(begin)).judge("x", &mut report);
            report.misses().to_vec()
        };
        assert_eq!(all(|_, _| None), [""; 0]);
        for (odd, want) in [
            ((|_, at| (at == 0).then_some((503, false))) as fn(Mode, u64) -> _, "neither"),
            (|mode, at| (mode == Mode::Open && at == 5_000).then_some((429, true)), "`open`"),
            (
                |mode, at| {
                    (mode == Mode::Local && (3_001..6_000).contains(&at)).then_some((429, true))
                },
                "`local`",
            ),
            (|mode, at| (mode == Mode::Closed && at == 5_000).then_some((200, true)), "`closed`"),
            (|_, at| (at == 7_500).then_some((429, true)), "right again"),
        ] {
            let misses = all(odd);
            assert!(misses.len() == 1 && misses[0].contains(want), "{want}: {misses:?}");
        }
    }

    #[test]
    fn more_than_the_limit_and_what_takes_long_is_seen() {
        let begin = Instant::now();
        let mut all = answers(begin, 0, 0, 5, |_| (200, false));
        let outcome = Outcome::of(&all, &times(begin));
        assert!(outcome.exact > 1.5 && outcome.leased == 0.0, "{outcome:?}");
        assert_eq!(outcome.added, (Duration::ZERO, Duration::ZERO));
        let late = all.iter_mut().find(|answer| answer.began > begin + ms(4_000)).unwrap();
        late.took = ms(60);
        assert_eq!(Outcome::of(&all, &times(begin)).added, (Duration::ZERO, ms(59)));
    }
}
