//! How the kit fails a test.
use std::fmt::Display;

/// Fails the test.
#[track_caller]
#[expect(clippy::panic, reason = "a test kit fails a test by a panic")]
pub(crate) fn fail(why: impl Display) -> ! {
    panic!("{why}")
}
