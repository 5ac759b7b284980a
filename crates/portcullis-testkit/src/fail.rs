//! How the kit fails a test.
#[cfg(feature = "stores")]
use std::fmt::Debug;
use std::fmt::Display;

/// Fails the test.
#[track_caller]
#[expect(clippy::panic, reason = "a test kit fails a test by a panic")]
pub(crate) fn fail(why: impl Display) -> ! {
    panic!("{why}")
}

/// Fails the test unless both are the same.
#[cfg(feature = "stores")]
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "what is compared is made where it is")]
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: T, want: T) {
    if got != want {
        fail(format!("{what}: it is {got:?}, and should be {want:?}"));
    }
}

/// Fails the test for an error.
#[cfg(feature = "stores")]
#[track_caller]
pub(crate) fn done<T, E: Debug>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(format!("{what}: {error:?}")))
}
