//! How long a client may keep somebody waiting: for the next byte, and on average.
use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The shortest wait of a timer.
const STEP: Duration = Duration::from_millis(1);

/// How long a client has kept whoever reads or writes a body waiting. The clock runs only while somebody waits.
///
/// The average is taken over a stretch of waiting as long as the idle time, and then anew: what came fast in the beginning does
/// not pay for a trickle.
pub(crate) struct Pace {
    idle: Duration,
    byte_rate: u32,
    /// In the present stretch.
    waited: Duration,
    /// How many bytes had moved when the present stretch began.
    before: u64,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(idle: Duration, byte_rate: u32) -> Self {
        Self { idle, byte_rate, waited: Duration::ZERO, before: 0, since: None, timer: None }
    }
    /// Something came or went; `bytes` have moved so far.
    pub(crate) fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
            let came = bytes.saturating_sub(self.before);
            if self.waited >= self.idle && !is_too_slow(came, self.waited, self.byte_rate) {
                self.waited = Duration::ZERO;
                self.before = bytes;
            }
        }
    }
    /// Completes when the client has been too slow; `bytes` have moved so far.
    pub(crate) fn poll_wait(&mut self, cx: &mut Cx<'_>, bytes: u64) -> Poll<()> {
        let now = Instant::now();
        let bytes = bytes.saturating_sub(self.before);
        let since = *self.since.get_or_insert(now);
        let waited = self.waited + (now - since);
        let idle_until = since + self.idle;
        // The first moment at which the average is too low; the rate counts only after the idle time. A rate of none never does.
        let paid = bytes.saturating_mul(1_000).checked_div(u64::from(self.byte_rate));
        let rate_until = paid.map(|paid| {
            since + Duration::from_millis(paid).max(self.idle).saturating_sub(self.waited)
        });
        let too_slow = waited >= self.idle && is_too_slow(bytes, waited, self.byte_rate);
        if now >= idle_until || too_slow {
            return Poll::Ready(());
        }
        let until = rate_until.map_or(idle_until, |rate| idle_until.min(rate.max(now + STEP)));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

/// Whether `bytes` in `waited` is less than the rate asks for.
fn is_too_slow(bytes: u64, waited: Duration, byte_rate: u32) -> bool {
    u128::from(bytes) * 1_000 < u128::from(byte_rate) * waited.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::timeout;

    /// Lets so many bytes come every so many milliseconds, behind a first piece. Answers when that was too slow.
    async fn too_slow_after(first: u64, bytes: u64, millis: u64) -> Option<Duration> {
        let mut pace = Pace::new(Duration::from_secs(30), 240);
        let (began, mut seen) = (Instant::now(), first);
        pace.moved(seen);
        while began.elapsed() < Duration::from_secs(600) {
            let wait = poll_fn(|cx| pace.poll_wait(cx, seen));
            if timeout(Duration::from_millis(millis), wait).await.is_ok() {
                return Some(began.elapsed());
            }
            seen += bytes;
            pace.moved(seen);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn the_average_counts_however_the_bytes_fall() {
        for millis in [300, 999, 1_000, 1_001, 7_000] {
            let end = too_slow_after(0, 1, millis).await.unwrap();
            assert!((30..=38).contains(&end.as_secs()), "a byte every {millis} ms: {end:?}");
            let enough = too_slow_after(0, 400 * millis / 1_000 + 1, millis).await;
            assert_eq!(enough, None, "enough every {millis} ms");
            let end = too_slow_after(1 << 20, 1, millis).await.unwrap();
            assert!((60..=75).contains(&end.as_secs()), "behind a mebibyte, {millis} ms: {end:?}");
        }
        assert_eq!(too_slow_after(0, 1, 40_000).await.unwrap().as_secs(), 30);
    }
}
