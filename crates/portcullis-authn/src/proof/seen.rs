//! Proofs that have come already.
use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};

use super::{AGE, AHEAD};

/// Which proofs have come (`jti` of RFC 9449, section 11.1), for as long as they could come again. Cheap to clone; clones share it, and so do layers that
/// are given the same.
///
/// No more are known than there is room for, and none is forgotten before its time: where there is no more room, tokens that need a proof get
/// 503 `authentication-unavailable`. Another process knows nothing of it: a proof is good once in each.
#[derive(Clone)]
pub struct SeenProofs(Arc<Inner>);

struct Inner {
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

impl Default for SeenProofs {
    fn default() -> Self {
        Self::new()
    }
}

impl SeenProofs {
    /// How many proofs there is room for where nobody says otherwise: those of 11,000 requests a second.
    pub const ROOM: usize = 1_000_000;

    /// None yet, with room for [`ROOM`](Self::ROOM).
    pub fn new() -> Self {
        Self::with_room(Self::ROOM)
    }
    /// None yet, with room for so many. One takes about 40 bytes once it has come, for 3 min at most.
    pub fn with_room(most: usize) -> Self {
        Self::remembering(most, AGE + AHEAD)
    }
    /// Knows `most` proofs, each for at least `time`.
    fn remembering(most: usize, time: Duration) -> Self {
        let shard = || {
            let (now, before) = (HashSet::new(), HashSet::new());
            Mutex::new(Shard { began: SystemTime::UNIX_EPOCH, now, before })
        };
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self(Arc::new(Inner { shards, most: most.div_ceil(SHARDS), time }))
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
        let Inner { shards, most, time } = &*self.0;
        let Some(shard) = shards.get(at) else { return Seen::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.duration_since(shard.began).unwrap_or_default();
        if age >= *time {
            shard.before = mem::take(&mut shard.now);
            if age >= *time * 2 {
                shard.before = HashSet::new();
            }
            shard.began = now;
        }
        if shard.before.contains(&name) || shard.now.contains(&name) {
            return Seen::Before;
        }
        if shard.now.len() + shard.before.len() >= *most {
            return Seen::Full;
        }
        shard.now.insert(name);
        Seen::First
    }
}

impl fmt::Debug for SeenProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenProofs").field("most", &self.0.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_known_for_its_whole_time_and_no_more_than_fit() {
        let time = Duration::from_secs(90);
        let seen = SeenProofs::remembering(16_000, time);
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
