//! Proofs that have come already.
use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};

/// Which proofs have come, for as long as they could come again. No more are known than fit, and none is forgotten before its time: where there is no
/// more room, it says so.
pub(super) struct SeenProofs {
    shards: Vec<Mutex<Shard>>,
    most: usize,
    time: Duration,
}

/// Those of this length of time, and those of the one before.
struct Shard {
    began: SystemTime,
    now: HashSet<[u8; 16]>,
    before: HashSet<[u8; 16]>,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    First,
    Before,
    Full,
}

/// By the last byte of what a proof is known by.
const SHARDS: usize = 16;

impl SeenProofs {
    /// Knows `most` proofs, each for at least `time`.
    pub(super) fn new(most: usize, time: Duration) -> Self {
        let shard = || {
            let (now, before) = (HashSet::new(), HashSet::new());
            Mutex::new(Shard { began: SystemTime::UNIX_EPOCH, now, before })
        };
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), most: most.div_ceil(SHARDS), time }
    }
    /// Whether the proof of this name by this key comes for the first time. It is known from now on.
    pub(super) fn see(&self, key: &[u8; 32], id: &str, now: SystemTime) -> Seen {
        // The key has a fixed length: no two pairs look alike.
        let mut both = Context::new(&SHA256);
        both.update(key);
        both.update(id.as_bytes());
        let digest = both.finish();
        let Some(name) = digest.as_ref().first_chunk::<16>().copied() else { return Seen::Full };
        let at = digest.as_ref().last().map_or(0, |last| usize::from(*last) % SHARDS);
        let Some(shard) = self.shards.get(at) else { return Seen::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.duration_since(shard.began).unwrap_or_default();
        if age >= self.time {
            shard.before = mem::take(&mut shard.now);
            if age >= self.time * 2 {
                shard.before = HashSet::new();
            }
            shard.began = now;
        }
        if shard.before.contains(&name) || shard.now.contains(&name) {
            return Seen::Before;
        }
        if shard.now.len() + shard.before.len() >= self.most {
            return Seen::Full;
        }
        shard.now.insert(name);
        Seen::First
    }
}

impl fmt::Debug for SeenProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenProofs").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_known_for_its_whole_time_and_no_more_than_fit() {
        let time = Duration::from_secs(90);
        let seen = SeenProofs::new(16_000, time);
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = [7; 32];
        for second in 0..600 {
            let id = format!("proof {second}");
            assert_eq!(seen.see(&key, &id, at(second)), Seen::First);
            // Whatever was seen within the time is known still.
            for ago in [0, 1, 45, 89].into_iter().filter(|ago| *ago <= second) {
                let id = format!("proof {}", second - ago);
                assert_eq!(seen.see(&key, &id, at(second)), Seen::Before, "{second} {ago}");
            }
        }
        assert_eq!(seen.see(&[8; 32], "proof 599", at(599)), Seen::First, "another key");
        assert_eq!(seen.see(&key, "proof 0", at(599)), Seen::First, "forgotten");
        let many = (0..40_000).map(|number| seen.see(&key, &number.to_string(), at(600)));
        let first = many.filter(|seen| *seen == Seen::First).count();
        assert!((14_000..=16_000).contains(&first), "{first}");
        assert_eq!(seen.see(&key, "0", at(600)), Seen::Before);
        // There is room again, once what was seen could not come again.
        assert_eq!(seen.see(&key, "another", at(900)), Seen::First);
    }
}
