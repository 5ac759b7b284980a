//! The breaker against a model that remembers everything.
use std::time::Duration;

use portcullis_testkit::FakeTime;
use proptest::prelude::*;

use super::*;

const MINIMUM: usize = 4;
const PROBES: usize = 2;
/// Of the window, and of how long it stays open. The window moves by a tenth.
const SECONDS: u64 = 10;
const SLOW: u64 = 700;

/// What the breaker is by its description.
#[derive(Debug)]
enum Model {
    /// When each call ended, and whether it failed or was slow.
    Closed(Vec<(u64, bool, bool)>),
    Open {
        until: u64,
    },
    HalfOpen {
        since: u64,
        admitted: usize,
        went_well: usize,
    },
}

/// A call under way: which life of the breaker it belongs to, and when it began.
struct Call {
    permit: BreakerPermit,
    life: u64,
    began: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Ask,
    /// Ends the call at this place: well, badly, or without being heard of again.
    End(usize, Option<bool>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..900).prop_map(Step::Wait),
        1 => (900_u64..12_000).prop_map(Step::Wait),
        5 => Just(Step::Ask),
        6 => (any::<usize>(), proptest::option::weighted(0.9, any::<bool>()))
            .prop_map(|(at, how)| Step::End(at, how)),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_what_its_description_says(steps in steps()) {
        let time = FakeTime::new();
        let breaker = Breaker::builder()
            .minimum(4)
            .probes(2)
            .slow(Duration::from_millis(SLOW), 0.75)
            .clock(time.clock())
            .build();
        let (mut now, mut life, mut opened) = (0_u64, 0_u64, 0_u64);
        let mut model = Model::Closed(Vec::new());
        let mut calls: Vec<Call> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => {
                    time.advance(Duration::from_millis(millis));
                    now += millis;
                }
                Step::Ask => {
                    let lets = match &mut model {
                        Model::Closed(_) => true,
                        Model::HalfOpen { since, admitted, .. } if *admitted < PROBES => {
                            (*since, *admitted) = (now, *admitted + 1);
                            true
                        }
                        Model::HalfOpen { since, .. } => {
                            let overdue = now >= *since + SECONDS * 1_000;
                            if overdue {
                                life += 1;
                                model = Model::HalfOpen { since: now, admitted: 1, went_well: 0 };
                            }
                            overdue
                        }
                        Model::Open { until } => {
                            let over = now >= *until;
                            if over {
                                life += 1;
                                model = Model::HalfOpen { since: now, admitted: 1, went_well: 0 };
                            }
                            over
                        }
                    };
                    let permit = breaker.try_acquire();
                    prop_assert_eq!(permit.is_ok(), lets, "{:?}", model);
                    match permit {
                        Ok(permit) => calls.push(Call { permit, life, began: now }),
                        Err(open) => {
                            prop_assert!(open.retry_after() <= Duration::from_secs(SECONDS));
                            prop_assert!(!open.retry_after().is_zero());
                        }
                    }
                }
                Step::End(_, _) if calls.is_empty() => {}
                Step::End(at, how) => {
                    let Call { permit, life: of, began } = calls.swap_remove(at % calls.len());
                    let slow = now - began >= SLOW;
                    match how {
                        Some(true) => permit.succeeded(),
                        Some(false) => permit.failed(),
                        None => drop(permit),
                    }
                    let bad = how == Some(false) || slow;
                    // What belongs to an earlier life says nothing about this one.
                    match (&mut model, how) {
                        _ if of != life => {}
                        (Model::Closed(ends), Some(well)) => {
                            ends.push((now, !well, slow));
                            ends.retain(|(at, ..)| now / 1_000 - at / 1_000 < SECONDS);
                            let failed = ends.iter().filter(|(_, failed, _)| *failed).count();
                            let slow_ones = ends.iter().filter(|(.., slow)| *slow).count();
                            let too_many = (!well && failed * 2 >= ends.len())
                                || (slow && slow_ones * 4 >= ends.len() * 3);
                            if ends.len() >= MINIMUM && too_many {
                                (life, opened) = (life + 1, opened + 1);
                                model = Model::Open { until: now + SECONDS * 1_000 };
                            }
                        }
                        (Model::HalfOpen { .. }, Some(_)) if bad => {
                            (life, opened) = (life + 1, opened + 1);
                            model = Model::Open { until: now + SECONDS * 1_000 };
                        }
                        (Model::HalfOpen { went_well, .. }, Some(_)) => {
                            *went_well += 1;
                            if *went_well == PROBES {
                                life += 1;
                                model = Model::Closed(Vec::new());
                            }
                        }
                        (Model::HalfOpen { admitted, .. }, None) => {
                            *admitted = admitted.saturating_sub(1);
                        }
                        (Model::Closed(_) | Model::Open { .. }, _) => {}
                    }
                }
            }
            let state = match model {
                Model::Closed(_) => BreakerState::Closed,
                Model::Open { .. } => BreakerState::Open,
                Model::HalfOpen { .. } => BreakerState::HalfOpen,
            };
            prop_assert_eq!((breaker.state(), breaker.opened()), (state, opened));
        }
        // It is never open for ever: some time later somebody is let through, and closes it.
        drop(calls);
        for _ in 0..3 {
            time.advance(Duration::from_secs(SECONDS));
            for permit in [breaker.try_acquire(), breaker.try_acquire()].into_iter().flatten() {
                permit.succeeded();
            }
        }
        prop_assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn of_many_threads_no_more_than_the_probes_get_through() {
    let time = FakeTime::new();
    let breaker = Breaker::builder().minimum(1).probes(3).clock(time.clock()).build();
    breaker.try_acquire().unwrap().failed();
    time.advance(Duration::from_secs(10));
    let permits = std::thread::scope(|scope| {
        let ask =
            || scope.spawn(|| (0..1_000).filter_map(|_| breaker.try_acquire().ok()).collect());
        let threads: Vec<_> = (0..8).map(|_| ask()).collect();
        threads
            .into_iter()
            .flat_map(|thread| -> Vec<_> { thread.join().unwrap() })
            .collect::<Vec<_>>()
    });
    assert_eq!(permits.len(), 3);
    permits.into_iter().for_each(BreakerPermit::succeeded);
    assert_eq!(breaker.state(), BreakerState::Closed);
}
