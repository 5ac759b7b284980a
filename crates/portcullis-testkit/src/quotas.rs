//! What every store of quotas must do, and a check that it does.
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::Clock;
use portcullis_ratelimit::{QuotaStore, Rate, Take, Taken};

use crate::fail::{done, fail, same};
use crate::quota_model::{Model, Numbers};

/// How many ask at once, and how often each.
const MANY: u64 = 64;
const EACH: u64 = 5;
const HOUR: Duration = Duration::from_secs(3_600);
/// What a store may round up in a few steps: a clock may count in milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// Checks that a store of quotas does what [`QuotaStore`] says, also where many take at once. The store is empty, and nobody else takes from it meanwhile. Time is that of the
/// store: where the check depends on how much of it has passed, it holds the store to what is possible.
///
/// # Panics
/// Where it does something else.
pub async fn quota_store_contract(store: Arc<dyn QuotaStore>) {
    let check = Check { store, clock: Clock::system() };
    check.counts_to_the_burst().await;
    check.takes_what_there_is_room_for().await;
    check.takes_ahead_with_patience().await;
    check.takes_further_ahead_than_the_burst().await;
    check.asks_for_room_and_takes_less().await;
    check.takes_all_or_nothing().await;
    check.counts_one_key_twice_in_a_call().await;
    check.settles_up_and_down().await;
    check.keeps_quotas_apart().await;
    check.counts_big_numbers().await;
    check.goes_by_the_rate_of_the_call().await;
    check.gives_room_as_time_passes().await;
    check.counts_exactly_when_many_take().await;
    check.takes_all_or_nothing_when_many_take().await;
    check.does_each_step_as_a_model_does().await;
}

struct Check {
    store: Arc<dyn QuotaStore>,
    clock: Clock,
}

fn hourly(units: u64) -> Rate {
    Rate::new(units, HOUR)
}

fn take(quota: &str, who: u8, rate: Rate, units: u64) -> Take {
    Take::new(quota.into(), [who; 16], rate, units)
}

/// What so many units take up, to the nanosecond: a rate may round what each of them does.
fn time_of(rate: Rate, units: u64) -> Duration {
    let nanos = u128::from(units) * rate.period().as_nanos() / u128::from(rate.units());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Check {
    async fn all(&self, takes: &[Take]) -> Vec<Taken> {
        let answers = done("take", self.store.take(takes).await);
        same("the number of answers", answers.len(), takes.len());
        let admitted = answers.first().is_some_and(|first| first.admitted);
        for (take, answer) in takes.iter().zip(&answers) {
            same(&format!("whether all are taken or none, of {take:?}"), answer.admitted, admitted);
            let (units, least) = (answer.units, take.needs.min(take.most));
            if admitted && (units < least || units > take.most) || !admitted && units > 0 {
                fail(format!("{units} units are taken by {take:?}: {answer:?}"));
            }
        }
        answers
    }
    async fn one(&self, take: &Take) -> Taken {
        let taken = self.all(std::slice::from_ref(take)).await;
        match taken.first() {
            Some(taken) => *taken,
            None => fail("there is no answer"),
        }
    }
    /// Whether so many units more may be taken; they are.
    async fn may(&self, quota: &str, rate: Rate, units: u64) -> bool {
        self.one(&take(quota, 1, rate, units)).await.admitted
    }
    async fn settle(&self, quota: &str, rate: Rate, units: i64) {
        done("settle", self.store.settle(&take(quota, 1, rate, 1), units).await);
    }
    /// Fails unless the time is taken up so far ahead, but for what has passed since then.
    fn ahead(&self, what: &str, got: Duration, want: Duration, since: Instant) {
        let passed = self.clock.now() - since + ROUNDING;
        if got > want + ROUNDING || got + passed < want {
            fail(format!("{what}: the time is taken up {got:?} ahead, and should be {want:?}"));
        }
    }

    async fn counts_to_the_burst(&self) {
        same("the answers to nothing", self.all(&[]).await, Vec::new());
        for (quota, rate) in [("burst-5", hourly(5)), ("burst-7", hourly(3).burst(7))] {
            let since = self.clock.now();
            for count in 1..=rate.at_once() {
                let taken = self.one(&take(quota, 1, rate, 1)).await;
                same(&format!("{quota}: the units of take {count}"), taken.units, 1);
                self.ahead(quota, taken.ahead, time_of(rate, count), since);
            }
            for units in [1, 2, u64::from(u32::MAX)] {
                let taken = self.one(&take(quota, 1, rate, units)).await;
                same(&format!("{quota}: one beyond the burst"), taken.admitted, false);
                self.ahead(quota, taken.ahead, time_of(rate, rate.at_once()), since);
            }
        }
        let rate = hourly(5);
        same("more at once than the burst", self.may("burst-more", rate, 6).await, false);
        same("the burst at once", self.may("burst-more", rate, 5).await, true);
        same("one more", self.may("burst-more", rate, 1).await, false);
    }
    async fn takes_what_there_is_room_for(&self) {
        let mut part = take("part", 1, hourly(10), 0);
        // What is needed, the most, and what is taken of ten.
        for (needs, most, want) in [
            (2, 4, Some(4)),
            (5, 2, Some(2)),
            (5, 8, None),
            (1, 8, Some(4)),
            (0, 8, Some(0)),
            (1, 1, None),
        ] {
            (part.needs, part.most) = (needs, most);
            let taken = self.one(&part).await;
            let got = taken.admitted.then_some(taken.units);
            same(&format!("needed are {needs}, at most {most}"), got, want);
        }
        let mut part = take("part-of-all", 1, hourly(3), 1);
        part.most = 1_000_000_000_000;
        same("as much as there is", self.one(&part).await.units, 3);
    }
    async fn takes_ahead_with_patience(&self) {
        let rate = Rate::new(10, HOUR * 10);
        // Before the burst, for a store has its own time for it.
        let since = self.clock.now();
        same("the burst", self.may("patience", rate, 10).await, true);
        let mut early = take("patience", 1, rate, 1);
        for (patience, want) in
            [(HOUR / 2, None), (HOUR, Some(HOUR * 11)), (HOUR, None), (HOUR * 2, Some(HOUR * 12))]
        {
            early.patience = patience;
            let taken = self.one(&early).await;
            same(&format!("with {patience:?} of patience"), taken.admitted, want.is_some());
            if let Some(want) = want {
                self.ahead("ahead of time", taken.ahead, want, since);
            }
        }
        (early.needs, early.most, early.patience) = (11, 11, HOUR * 100);
        same("more than the burst", self.one(&early).await.admitted, false);
        // Only what is needed comes ahead of time.
        early.needs = 1;
        (early.patience, early.most) = (HOUR * 4, 9);
        same("ahead of time", self.one(&early).await.units, 1);
    }
    async fn asks_for_room_and_takes_less(&self) {
        let rate = hourly(2);
        let mut look = take("look", 1, rate, 1);
        look.most = 0;
        for _ in 0..3 {
            let taken = self.one(&look).await;
            same("a look at what there is", (taken.admitted, taken.units), (true, 0));
        }
        same("what was looked at", self.may("look", rate, 2).await, true);
        same("a look at what is used up", self.one(&look).await.admitted, false);
    }
    async fn takes_further_ahead_than_the_burst(&self) {
        let (since, rate) = (self.clock.now(), hourly(1));
        let mut early = take("long-patience", 1, rate, 1);
        early.patience = HOUR * 5;
        for count in 1..=7 {
            let taken = self.one(&early).await;
            same(&format!("with much patience, take {count}"), taken.admitted, count <= 6);
            self.ahead("with much patience", taken.ahead, HOUR * count.min(6), since);
        }
        // What is owed already is not let go by what is settled.
        self.settle("long-patience", rate, 1).await;
        same("after one more", self.one(&early).await.admitted, false);
        self.settle("long-patience", rate, -1).await;
        for admitted in [true, false] {
            let taken = self.one(&early).await;
            same("after one was given back", taken.admitted, admitted);
            self.ahead("after one was given back", taken.ahead, HOUR * 6, since);
        }
        // Whoever does not wait is owed two bursts at most.
        early.patience = Duration::ZERO;
        let since = self.clock.now();
        for _ in 0..2 {
            let taken = self.one(&early).await;
            same("without patience", taken.admitted, false);
            self.ahead("without patience", taken.ahead, HOUR * 2, since);
        }
    }
    async fn takes_all_or_nothing(&self) {
        let (many, few) = (hourly(10), hourly(2));
        let both = [take("all-many", 1, many, 1), take("all-few", 1, few, 1)];
        let turned = [both[1].clone(), both[0].clone()];
        let mine = [both[0].clone(), take("all-few", 2, few, 1)];
        for (takes, want) in
            [(&both, true), (&turned, true), (&both, false), (&turned, false), (&mine, true)]
        {
            let taken = self.all(takes).await;
            same("both or none", taken.iter().all(|taken| taken.admitted), want);
        }
        same("what is left of many", self.may("all-many", many, 8).await, false);
        same("what is left of many", self.may("all-many", many, 7).await, true);
    }
    async fn counts_one_key_twice_in_a_call(&self) {
        // What a unit takes up is no whole number of anything.
        for units in [7, 11, 13] {
            let (quota, rate) = (format!("twice-{units}"), hourly(units));
            let some = |units| take(&quota, 1, rate, units);
            for (takes, want) in [
                (vec![some(units - 1), some(2)], false),
                (vec![some(1); usize::try_from(units).unwrap_or_default()], true),
                (vec![some(1), some(0)], false),
            ] {
                let since = self.clock.now();
                let taken = self.all(&takes).await;
                same(&quota, taken.iter().all(|taken| taken.admitted), want);
                for (at, taken) in taken.iter().enumerate().filter(|_| want) {
                    self.ahead(&quota, taken.ahead, time_of(rate, at as u64 + 1), since);
                }
            }
        }
    }
    async fn settles_up_and_down(&self) {
        let rate = hourly(10);
        for (first, units, left) in
            [(2, 3, 5), (8, -3, 5), (4, -100, 10), (0, -1, 10), (0, 4, 6), (3, 0, 7)]
        {
            let quota = format!("settle-{first}-{units}");
            same("what is taken first", self.may(&quota, rate, first).await, true);
            self.settle(&quota, rate, units).await;
            same(
                &format!("{quota}: more than is left"),
                self.may(&quota, rate, left + 1).await,
                false,
            );
            same(&format!("{quota}: what is left"), self.may(&quota, rate, left).await, true);
        }
        let since = self.clock.now();
        self.settle("settle-much", rate, 15).await;
        let taken = self.one(&take("settle-much", 1, rate, 1)).await;
        same("room after too much", taken.admitted, false);
        self.ahead("after too much", taken.ahead, HOUR * 3 / 2, since);
        for much in [1_000, i64::MAX] {
            self.settle("settle-much", rate, much).await;
            let taken = self.one(&take("settle-much", 1, rate, 1)).await;
            self.ahead("what is owed at most", taken.ahead, HOUR * 2, since);
        }
        self.settle("settle-much", rate, i64::MIN).await;
        same("after all was given back", self.may("settle-much", rate, 10).await, true);
    }
    async fn keeps_quotas_apart(&self) {
        let rate = hourly(1);
        let names =
            ["apart", "Apart", "APART", "apart:1", "apart/1", "apart.1", "apart-1", "apart_1"];
        for name in names {
            for who in [0, 1, 255] {
                let taken = self.one(&take(name, who, rate, 1)).await;
                same(&format!("{name} of {who}"), taken.admitted, true);
            }
        }
        for name in names {
            same(&format!("{name} again"), self.may(name, rate, 1).await, false);
        }
        let one_bit = Take::new(
            "apart".into(),
            [[1; 15].as_slice(), &[3]].concat().try_into().unwrap_or_default(),
            rate,
            1,
        );
        same("of another one", self.one(&one_bit).await.admitted, true);
    }
    async fn counts_big_numbers(&self) {
        const SECOND: Duration = Duration::from_secs(1);
        const YEAR: Duration = Duration::from_secs(31_557_600);
        let (giga, tera) = (1_000_000_000, 1_000_000_000_000);
        // The rate, and units of which two make a burst.
        for (quota, rate, half) in [
            ("big-second", Rate::new(giga, SECOND).burst(giga * 100), giga * 50),
            ("big-day", Rate::new(tera, HOUR * 24), tera / 2),
            ("big-year", Rate::new(2, YEAR), 1),
            ("big-years", Rate::new(1_000_000, YEAR * 10), 500_000),
            ("big-bytes", Rate::new(1 << 50, YEAR), 1 << 49),
            ("odd", Rate::new(999_999_937, Duration::from_nanos(86_399_999_999_983)), 1 << 28),
        ] {
            let (since, rate) = (self.clock.now(), rate.burst(half * 2));
            for (count, want) in [(1, true), (2, true), (3, false)] {
                let taken = self.one(&take(quota, 1, rate, half)).await;
                same(&format!("{quota}: half a burst, {count}"), taken.admitted, want);
                self.ahead(quota, taken.ahead, time_of(rate, half * count.min(2)), since);
            }
        }
        // Less time than anybody counts in.
        let tiny = Rate::new(giga, SECOND).burst(1);
        same("a billionth of a second", self.may("big-tiny", tiny, 1).await, true);
        same("more than the burst", self.may("big-tiny", tiny, 2).await, false);
    }
    async fn goes_by_the_rate_of_the_call(&self) {
        let (since, quota) = (self.clock.now(), "changed");
        same("ten of ten", self.may(quota, hourly(10), 10).await, true);
        same("of a hundred in the same time", self.may(quota, hourly(100), 1).await, false);
        same("with a burst for two hours", self.may(quota, hourly(10).burst(20), 11).await, false);
        same("with a burst for two hours", self.may(quota, hourly(10).burst(20), 10).await, true);
        let minute = Duration::from_secs(60);
        let taken = self.one(&take(quota, 1, Rate::new(10, minute), 1)).await;
        same("for a minute", taken.admitted, false);
        self.ahead("what is owed at most", taken.ahead, minute * 2, since);
    }
    async fn gives_room_as_time_passes(&self) {
        let (quota, rate) = ("passes", Rate::new(20, Duration::from_millis(200)));
        let (mut count, since) = (0, self.clock.now());
        for _ in 0..4 {
            same("the burst, after its time", self.may(quota, rate, 20).await, true);
            count += 20;
            let most = 20 + rate.units_in(self.clock.now() - since);
            if count > most {
                fail(format!("{count} were taken, where {most} are possible"));
            }
            tokio::time::sleep(Duration::from_millis(210)).await;
        }
        // Whoever has waited as long as was said gets it.
        let mut wait = take("waited", 1, rate, 20);
        same("the burst", self.one(&wait).await.admitted, true);
        (wait.needs, wait.most) = (5, 5);
        let ahead = self.one(&wait).await.ahead;
        let room = rate.capacity().saturating_sub(rate.time_of(5));
        tokio::time::sleep(ahead.saturating_sub(room) + Duration::from_millis(2)).await;
        same("after the wait", self.one(&wait).await.admitted, true);
    }
    /// How many units all who take at once have taken together, and the least and the most that is possible.
    async fn taken_by_many(&self, rate: Rate, takes: impl Fn(u64) -> Vec<Take>) -> (u64, u64) {
        let since = self.clock.now();
        let tasks = (0..MANY).map(|at| {
            let (store, takes) = (Arc::clone(&self.store), takes(at));
            tokio::spawn(async move {
                let mut units = 0;
                for _ in 0..EACH {
                    let answers = done("take", store.take(&takes).await);
                    units += answers.first().map_or(0, |answer| answer.units);
                }
                units
            })
        });
        let mut units = 0;
        for task in tasks.collect::<Vec<_>>() {
            units += done("a task", task.await);
        }
        (units, rate.at_once() + rate.units_in(self.clock.now() - since + ROUNDING))
    }
    async fn counts_exactly_when_many_take(&self) {
        for (quota, rate) in [
            ("many-hourly", hourly(100).burst(150)),
            ("many-fast", Rate::new(50, Duration::from_secs(1)).burst(30)),
        ] {
            let takes = |_| vec![take(quota, 1, rate, 1)];
            let (units, most) = self.taken_by_many(rate, takes).await;
            if units < rate.at_once().min(MANY * EACH) || units > most {
                fail(format!(
                    "{quota}: {units} were taken, where {} to {most} are possible",
                    rate.at_once()
                ));
            }
        }
        // In parts of any size.
        let rate = hourly(500);
        let takes = |at: u64| {
            let mut part = take("many-parts", 1, rate, 1 + at % 3);
            part.most += at % 5;
            vec![part]
        };
        let (units, most) = self.taken_by_many(rate, takes).await;
        if units > most {
            fail(format!("in parts: {units} were taken, where {most} are possible"));
        }
    }
    async fn takes_all_or_nothing_when_many_take(&self) {
        let rate = hourly(60);
        // In every order, and with one that has more room: nobody waits for another one in a circle.
        let takes = |at: u64| {
            let quotas = ["order-1", "order-2", "order-3"];
            let mut takes: Vec<Take> = quotas.iter().map(|quota| take(quota, 1, rate, 1)).collect();
            takes.push(take("order-4", 1, hourly(100), 1));
            takes.rotate_left(usize::try_from(at % 4).unwrap_or_default());
            if at.is_multiple_of(2) {
                takes.reverse();
            }
            takes
        };
        let (units, most) = self.taken_by_many(rate, takes).await;
        if units < 60 || units > most {
            fail(format!("all or nothing: {units} were taken, where 60 to {most} are possible"));
        }
        same(
            "what is left of the one with more room",
            self.may("order-4", hourly(100), 101 - units).await,
            false,
        );
        same(
            "what is left of the one with more room",
            self.may("order-4", hourly(100), 99 - units).await,
            true,
        );
    }
    async fn does_each_step_as_a_model_does(&self) {
        let mut numbers = Numbers::new(9);
        let mut model = Model::default();
        let since = self.clock.now();
        for _ in 0..250 {
            let takes = numbers.takes();
            let before = self.clock.now() - since;
            if numbers.below(5) == 0
                && let Some(take) = takes.first()
            {
                let units = i64::try_from(numbers.below(30)).unwrap_or_default() - 15;
                done("settle", self.store.settle(take, units).await);
                model.settle(take, units, (before, self.clock.now() - since));
            } else {
                let answers = self.all(&takes).await;
                model.take(&takes, &answers, (before, self.clock.now() - since));
            }
        }
    }
}
