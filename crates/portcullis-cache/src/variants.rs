//! What is stored under one key in memory.
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::Key;
use crate::policy::{Facts, Stored};
use crate::purge_log::{PurgeLog, Verdict};
use crate::store::{Entry, Mark, StoredBody};

/// How many variants a key has at most: the oldest give way.
pub(crate) const MOST: usize = 32;

/// How long an entry stays at least, where memory allows it: a client may take a stale one.
const LEAST: Duration = Duration::from_secs(60);
/// What a key costs beside its text and its variants: nodes of the map, of the lists by use and of the timers, and its counters.
const PER_KEY: usize = 512;
/// A field in a header map: its slot, and its place in the index.
const PER_FIELD: usize = 120;
/// What a piece of a body costs beside its bytes: its handle, and what counts its owners.
const PER_PIECE: usize = size_of::<Bytes>() + 40;
/// What a shared text costs beside it.
const PER_TEXT: usize = 32;

/// All variants under one key. It is never changed, but replaced.
#[derive(Debug)]
pub(crate) struct Variants {
    /// The newest first.
    pub(crate) entries: Arc<[Entry]>,
    /// What each was asked for at.
    marks: Box<[Mark]>,
    /// All have been compared with all purges up to here.
    checked: AtomicU64,
    /// In bytes.
    pub(crate) weight: u32,
    /// How long it may be of use; `None` where nobody can tell.
    pub(crate) life: Option<Duration>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) entry: Entry,
    pub(crate) mark: Mark,
}

impl Variants {
    /// What is kept of these, the newest first: at most 32, and no more than `room` bytes but for the first.
    pub(crate) fn new(key: &Key, variants: Vec<Variant>, room: u64) -> Self {
        let mut weight = PER_KEY + size_of::<Key>() + key.as_bytes().len();
        let (mut entries, mut marks) = (Vec::new(), Vec::new());
        for Variant { entry, mark } in variants.into_iter().take(MOST) {
            let heavier = weight.saturating_add(weigh(&entry));
            if !entries.is_empty() && heavier as u64 > room {
                break;
            }
            weight = heavier;
            entries.push(entry);
            marks.push(mark);
        }
        let checked = AtomicU64::new(marks.iter().map(|mark| mark.0).min().unwrap_or_default());
        let life = entries
            .iter()
            .map(|entry| life(&entry.head))
            .try_fold(Duration::ZERO, |longest, life| Some(longest.max(life?)));
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Self { entries: entries.into(), marks: marks.into(), checked, weight, life }
    }

    /// Whether all were compared with all purges up to `mark`.
    pub(crate) fn is_checked(&self, mark: Mark) -> bool {
        self.checked.load(Ordering::Acquire) >= mark.0
    }

    /// Each with how far it was compared with the purges.
    pub(crate) fn all(&self) -> impl Iterator<Item = Variant> {
        let checked = Mark(self.checked.load(Ordering::Acquire));
        let entries = self.entries.iter().zip(&self.marks);
        entries.map(move |(entry, mark)| Variant { entry: entry.clone(), mark: checked.max(*mark) })
    }

    /// What the purges have left of it; `None` where that is all of it, as it is.
    pub(crate) fn sift(&self, log: &PurgeLog, key: &Key) -> Option<Vec<Variant>> {
        let verdicts: SmallVec<[(Variant, Verdict, Mark); 2]> = self
            .all()
            .map(|variant| {
                let (verdict, newest) = log.check(variant.mark, key, &variant.entry.head);
                (variant, verdict, newest)
            })
            .collect();
        let as_it_is = |(variant, verdict, _): &(Variant, Verdict, Mark)| match verdict {
            Verdict::Good => true,
            Verdict::Stale => variant.entry.is_stale,
            Verdict::Gone => false,
        };
        if verdicts.iter().all(as_it_is) {
            if let Some(Mark(newest)) = verdicts.iter().map(|(_, _, newest)| *newest).min() {
                self.checked.fetch_max(newest, Ordering::AcqRel);
            }
            return None;
        }
        let left = verdicts.into_iter().filter(|(_, verdict, _)| *verdict != Verdict::Gone);
        let marked = left.map(|(Variant { mut entry, .. }, verdict, mark)| {
            entry.is_stale |= verdict == Verdict::Stale;
            Variant { entry, mark }
        });
        Some(marked.collect())
    }
}

/// How long an entry may be of use: while it is fresh, and as long after that as it may be served stale. What can be validated is of use at any time.
///
/// It only says when memory is given back. So it may be too long, and counts from when the response arrived, on whatever clock that was.
fn life(head: &Stored) -> Option<Duration> {
    if head.has_validator() {
        return None;
    }
    let Facts { lifetime, age, while_revalidating, if_error, .. } = head.facts;
    let fresh = u64::from(lifetime).saturating_sub(age / 1_000);
    let stale = u64::from(while_revalidating.max(if_error));
    Some(LEAST.max(Duration::from_secs(fresh + stale)))
}

/// What an entry takes, in bytes.
fn weigh(entry: &Entry) -> usize {
    let Entry { head, body, .. } = entry;
    let fields = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let tags = head.tags().iter().map(|tag| tag.len() + PER_TEXT);
    let vary = head.vary.iter().map(|(name, value)| {
        name.as_str().len() + value.as_ref().map_or(0, |value| value.len() + PER_TEXT)
    });
    let body = match body {
        StoredBody::Here(pieces) => pieces.iter().map(|piece| piece.len() + PER_PIECE).sum(),
        StoredBody::Elsewhere(_) => 0,
    };
    size_of::<Entry>()
        + size_of::<Mark>()
        + size_of::<Stored>()
        + head.headers().capacity() * PER_FIELD
        + fields.sum::<usize>()
        + tags.sum::<usize>()
        + vary.sum::<usize>()
        + body
}
