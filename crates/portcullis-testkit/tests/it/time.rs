use std::time::{Duration, SystemTime};

use portcullis_core::{Sleep, Time};
use portcullis_testkit::FakeTime;

use crate::support::panic_of;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_stands_still_until_it_is_moved_and_moves_on_both_clocks() {
    let time = FakeTime::new();
    let clock = time.clock();
    let (now, wall) = (clock.now(), clock.wall());
    assert_eq!((clock.now(), clock.wall()), (now, wall));
    time.advance(90 * SECOND);
    assert_eq!((clock.now(), clock.wall()), (now + 90 * SECOND, wall + 90 * SECOND));
    assert_eq!(time.passed(), 90 * SECOND);
}

#[test]
fn the_calendar_begins_where_it_is_told_and_jumps_alone() {
    let (begin, other) = (SystemTime::UNIX_EPOCH + SECOND, SystemTime::UNIX_EPOCH);
    let time = FakeTime::starting_at(begin);
    assert_eq!(time.wall(), begin);
    let now = time.now();
    time.jump_wall(other);
    assert_eq!((time.now(), time.wall()), (now, other));
    time.advance(SECOND);
    assert_eq!((time.now(), time.wall()), (now + SECOND, begin));
}

#[tokio::test]
async fn a_wait_ends_when_the_time_has_come_and_not_before() {
    let time = FakeTime::new();
    time.sleep(Duration::ZERO).await;
    let short = tokio::spawn(time.sleep(SECOND));
    let long = tokio::spawn(time.sleep(2 * SECOND));
    tokio::task::yield_now().await;
    assert_eq!(time.waiting(), 2);
    for (step, want) in
        [(999, [false, false]), (1, [true, false]), (999, [true, false]), (1, [true, true])]
    {
        time.advance(Duration::from_millis(step));
        tokio::task::yield_now().await;
        assert_eq!([short.is_finished(), long.is_finished()], want, "{:?}", time.passed());
    }
    assert_eq!(time.waiting(), 0);
}

#[tokio::test]
async fn a_wait_that_is_dropped_is_forgotten() {
    let time = FakeTime::new();
    let wait = tokio::spawn(time.sleep(SECOND));
    tokio::task::yield_now().await;
    assert_eq!(time.waiting(), 1);
    wait.abort();
    assert!(wait.await.unwrap_err().is_cancelled());
    assert_eq!(time.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_fake_moves_tokio_too() {
    let time = FakeTime::new();
    let ours = tokio::spawn(time.sleep(SECOND));
    let theirs = tokio::spawn(tokio::time::sleep(SECOND));
    tokio::task::yield_now().await;
    let (now, tokio_now) = (time.now(), tokio::time::Instant::now());
    time.advance_with_tokio(SECOND).await;
    assert_eq!((time.now() - now, tokio_now.elapsed()), (SECOND, SECOND));
    assert!(ours.is_finished() && theirs.is_finished());
}

#[tokio::test]
async fn tokio_must_be_paused() {
    let time = FakeTime::new();
    let message = panic_of(time.advance_with_tokio(SECOND)).await;
    assert_ne!(message, "no panic");
}
