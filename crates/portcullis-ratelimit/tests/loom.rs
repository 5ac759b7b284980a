//! The table under every interleaving of a few threads: a model checker runs it, on atomics of its own.
#![cfg(test)]

/// The table without what only the metrics ask.
#[path = "../src/table.rs"]
#[expect(dead_code, reason = "the model asks for less than the crate")]
mod table;

/// What the table is made of here: one set, so that all keys meet.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use loom::thread::yield_now;
    pub(crate) use std::sync::OnceLock;

    pub(crate) const WAYS: usize = 2;
    pub(crate) const SETS: usize = 1;
}

use std::sync::Arc;

use table::Table;

const SECOND: u64 = 1_000_000_000;
/// One request takes up a second, and three may come at once.
const BURST: u64 = 3;

/// Takes one unit of what a key has; says whether there was room.
fn take(table: &Table, key: u64, now: u64) -> bool {
    let change = |used_until: u64| {
        let new = used_until.max(now) + SECOND;
        if new - now > BURST * SECOND { Err(()) } else { Ok(new) }
    };
    table.change(key, now, change).is_ok()
}

/// Runs three threads on one table, in every order with so many preemptions, and then says what each has been told.
fn check(
    preemptions: usize,
    start: impl Fn(&Table) + Send + Sync + 'static,
    threads: [fn(&Table) -> u64; 3],
    end: impl Fn(&Table, [u64; 3]) + Send + Sync + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(move || {
        let table = Arc::new(Table::new(0));
        start(&table);
        let of = |thread: fn(&Table) -> u64| {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || thread(&table))
        };
        let [first, second, third] = threads;
        let (first, second) = (of(first), of(second));
        let third = third(&table);
        end(&table, [first.join().unwrap(), second.join().unwrap(), third]);
    });
}

/// How many of so many requests of a key get through.
fn takes(table: &Table, key: u64, count: u32, now: u64) -> u64 {
    (0..count).map(|_| u64::from(take(table, key, now))).sum()
}

const ONE: u64 = 11;
const TWO: u64 = 22;
const THREE: u64 = 33;

#[test]
fn one_key_admits_its_burst_and_no_more() {
    let one = |table: &Table| takes(table, ONE, 1, 1);
    check(
        3,
        |table| {
            assert!(take(table, TWO, 1));
            assert!(take(table, ONE, 1));
        },
        [one, one, |table| 1 + takes(table, ONE, 1, 1)],
        |table, admitted| {
            assert_eq!(admitted.iter().sum::<u64>(), BURST);
            assert_eq!(table.get(ONE), Some(1 + BURST * SECOND));
            assert_eq!(table.get(TWO), Some(1 + SECOND));
        },
    );
}

#[test]
fn a_key_that_all_put_in_at_once_has_one_entry() {
    const LATER: u64 = 10 * SECOND;
    let one = |table: &Table| takes(table, ONE, 1, LATER);
    check(
        1,
        // The set is there, and its time has passed.
        |table| assert!(take(table, TWO, 1)),
        [one, one, one],
        |table, admitted| {
            assert_eq!(admitted, [1, 1, 1]);
            assert_eq!(table.get(ONE), Some(LATER + 3 * SECOND));
            // The other entry is free: another key finds room without anybody's having to go.
            assert!(take(table, THREE, LATER));
            assert_eq!(table.get(ONE), Some(LATER + 3 * SECOND));
        },
    );
}

/// The set is full: the third key makes the first one go, while that one counts. How many requests of the third got through.
fn replaced(third: [fn(&Table) -> u64; 2], check_third: fn(u64)) {
    check(
        2,
        |table| {
            assert_eq!(takes(table, ONE, 1, 1), 1);
            assert_eq!(takes(table, TWO, 3, 1), 3);
        },
        [|table| takes(table, ONE, 1, 1), third[0], third[1]],
        move |table, [one, three, more]| {
            assert_eq!(one, 1, "nobody is refused who has room");
            check_third(three + more);
            let used = |key: u64| (table.get(key).unwrap_or_default() + SECOND / 2) / SECOND;
            // Who has used most stays.
            assert!(used(TWO) == 3 || three + more == 3, "{}", used(TWO));
            assert!(used(ONE) <= 2, "{}", used(ONE));
            // It may have gone itself in between. It has nothing of another.
            assert!(used(THREE) <= three + more, "{}", used(THREE));
        },
    );
}

#[test]
fn a_key_that_has_to_go_takes_nothing_of_who_comes() {
    // It comes a moment later, so that no number is that of the first.
    let third = |table: &Table| takes(table, THREE, 1, 2);
    replaced([|table| takes(table, THREE, 2, 2), third], |admitted| assert_eq!(admitted, 3));
}

#[test]
fn what_it_takes_of_a_number_that_is_the_same_it_gives_back() {
    let third = |table: &Table| takes(table, THREE, 1, 1);
    replaced([|table| takes(table, THREE, 2, 1), third], |admitted| {
        // One is refused where the first had taken its room for a moment.
        assert!((2..=3).contains(&admitted), "{admitted}");
    });
}

#[test]
fn an_entry_that_is_free_is_not_taken_from_who_is_using_it() {
    // Both entries are free when the threads come, so that each may take the other's.
    let now = 10 * SECOND;
    let later = |table: &Table| takes(table, ONE, 2, 10 * SECOND);
    check(
        2,
        |table| {
            assert_eq!(takes(table, ONE, 1, 1), 1);
            assert_eq!(takes(table, TWO, 1, 1), 1);
        },
        [
            later,
            |table| takes(table, THREE, 1, 10 * SECOND),
            |table| takes(table, ONE, 2, 10 * SECOND),
        ],
        move |table, [first, three, second]| {
            assert_eq!(three, 1);
            assert_eq!(first + second, BURST, "one key, however often it goes and comes");
            assert_eq!(table.get(ONE), Some(now + BURST * SECOND));
            assert_eq!(table.get(THREE), Some(now + SECOND));
        },
    );
}
