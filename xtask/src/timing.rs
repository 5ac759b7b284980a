//! How long something takes.
use std::time::{Duration, Instant};

/// Runs `work`; says how long it took beside its answer.
#[expect(clippy::disallowed_methods, reason = "build times are real time; no test fakes them")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let answer = work();
    (answer, start.elapsed())
}

/// `1.2 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
