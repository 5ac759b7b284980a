//! A model of a store of quotas, which knows the store's time but for how long a call takes.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ratelimit::{Rate, Take, Taken};

use crate::fail::fail;

/// What a store may round up in some steps, in seconds.
const ROUNDING: f64 = 5e-3;

/// When a call began and when it was over: the store did it between.
type Between = (Duration, Duration);

/// Until when the time of each key is taken up, in seconds: at least and at most.
#[derive(Clone, Default)]
pub(crate) struct Model(HashMap<(Arc<str>, [u8; 16]), (f64, f64)>);

/// Counts of a test are small.
#[expect(clippy::cast_precision_loss, reason = "they are small")]
fn small(units: u64) -> f64 {
    units as f64
}

fn one(rate: Rate) -> f64 {
    rate.period().as_secs_f64() / small(rate.units())
}

impl Model {
    /// How far ahead of now the time of a key is taken up: at least and at most.
    fn ahead(&self, take: &Take, between: Between) -> (f64, f64) {
        let key = (Arc::clone(&take.quota), take.who);
        let (least, most) = self.0.get(&key).copied().unwrap_or_default();
        let burst = small(take.rate.at_once()) * one(take.rate);
        let owed = burst + burst.max(take.patience.as_secs_f64());
        let ahead = |until: f64, now: Duration| (until - now.as_secs_f64()).clamp(0.0, owed);
        (ahead(least, between.1), ahead(most, between.0))
    }
    fn put(&mut self, take: &Take, ahead: (f64, f64), between: Between) {
        let until = (between.0.as_secs_f64() + ahead.0, between.1.as_secs_f64() + ahead.1);
        self.0.insert((Arc::clone(&take.quota), take.who), until);
    }
    /// Fails where the store cannot have said this.
    pub(crate) fn take(&mut self, takes: &[Take], answers: &[Taken], between: Between) {
        let (mut after, mut may_be, mut must_be) = (self.clone(), true, true);
        let admitted = answers.iter().all(|answer| answer.admitted);
        for (take, answer) in takes.iter().zip(answers) {
            let (least, most) = after.ahead(take, between);
            let (one, burst) = (one(take.rate), small(take.rate.at_once()));
            let (needs, patience) = (small(take.needs) * one, take.patience.as_secs_f64());
            let over = needs - burst * one;
            let is_never = take.needs > take.rate.at_once();
            may_be &= !is_never && over + least <= patience + ROUNDING;
            must_be &= !is_never && over + most <= patience - ROUNDING;
            let room = |ahead: f64| ((burst * one - ahead) / one).clamp(0.0, burst).floor();
            let wants = |room: f64| room.max(small(take.needs)).min(small(take.most));
            let (low, high) = (wants(room(most + ROUNDING)), wants(room(least - ROUNDING)));
            let units = if admitted { small(answer.units) } else { low };
            if units < low || units > high {
                fail(format!("{take:?} takes {units} units, where {low} to {high} are possible"));
            }
            after.put(take, (least + units * one, most + units * one), between);
            let (said, own) = (answer.ahead.as_secs_f64(), if admitted { &after } else { &*self });
            let (least, most) = own.ahead_of_the_call(take, between);
            if said < least - ROUNDING || said > most + ROUNDING {
                fail(format!("{take:?}: {said} s ahead, where {least} to {most} are possible"));
            }
        }
        if admitted && !may_be || !admitted && must_be {
            fail(format!("{takes:?} is answered {answers:?}"));
        }
        if admitted {
            *self = after;
        }
    }
    /// As the call itself says it, which may be more than two bursts.
    fn ahead_of_the_call(&self, take: &Take, between: Between) -> (f64, f64) {
        let (least, most) = self.ahead(take, between);
        let key = (Arc::clone(&take.quota), take.who);
        let until = self.0.get(&key).map_or(most, |(_, most)| most - between.0.as_secs_f64());
        (least, until.max(most))
    }
    pub(crate) fn settle(&mut self, take: &Take, units: i64, between: Between) {
        let (least, most) = self.ahead(take, between);
        let (one, sign) = (one(take.rate), if units < 0 { -1.0 } else { 1.0 });
        let (by, owed) =
            (sign * small(units.unsigned_abs()) * one, 2.0 * small(take.rate.at_once()) * one);
        let settled = |ahead: f64| (ahead + by).clamp(0.0, owed.max(ahead));
        self.put(take, (settled(least), settled(most)), between);
    }
}

/// Numbers that look like chance, and are the same each time.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // Knuth's numbers for MMIX; the high bits are the better ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
    fn place(&mut self, end: u64) -> usize {
        usize::try_from(self.below(end)).unwrap_or_default()
    }
    /// One to three takes of few keys, so that they meet.
    pub(crate) fn takes(&mut self) -> Vec<Take> {
        let count = 1 + self.below(3);
        let takes = (0..count).map(|_| {
            let quota = self.below(4);
            let who = u8::try_from(self.below(2)).unwrap_or_default();
            // The quotas have rates of their own, and one of them another one now and then.
            let units = match quota {
                0 => 7,
                1 | 3 => 60,
                _ => 1_000,
            };
            let changed = u64::from(quota == 1 && self.below(8) == 0);
            let rate = Rate::new(units * (1 + changed), Duration::from_secs(3_600 + 7 * quota));
            let rate = match quota {
                2 => rate.burst(40),
                3 => rate.burst(2),
                _ => rate,
            };
            let mut take =
                Take::new(format!("model-{quota}").into(), [who; 16], rate, self.below(5));
            take.most = take.needs + [0, 0, 3, 20].get(self.place(4)).unwrap_or(&0);
            if quota == 3 {
                // One that waits for longer than its burst takes up.
                take.patience = rate.time_of(5);
            } else if self.below(4) == 0 {
                take.patience = rate.time_of(self.below(6));
            }
            take
        });
        takes.collect()
    }
}
