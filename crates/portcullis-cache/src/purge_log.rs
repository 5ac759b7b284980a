//! What was purged, and when: what is stored is compared with it when it is looked up, once for each purge.
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::quality::RandomState;

use crate::policy::Stored;
use crate::purge::What;
use crate::store::Mark;
use crate::{Key, Purge};

/// How many URLs, tags and groups it remembers, until its owner has to compare all that is stored.
const MOST: usize = 65_536;
/// And how many prefixes: each is compared with every URL.
const MOST_PREFIXES: usize = 256;

/// The purges of one process.
#[derive(Debug)]
pub(crate) struct PurgeLog {
    /// The number of the last purge. Nothing is compared with what is as new as that.
    newest: AtomicU64,
    records: RwLock<Records>,
    hasher: RandomState,
    most: usize,
    most_prefixes: usize,
}

/// What a purge means for something that was asked for before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Nothing.
    Good,
    /// It has to be validated.
    Stale,
    /// It must not be used.
    Gone,
}

/// The newest purges of one thing.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    hard: u64,
    soft: u64,
}

impl Last {
    fn set(&mut self, number: u64, soft: bool) {
        if soft {
            self.soft = number;
        } else {
            self.hard = number;
        }
    }
    fn newest(self) -> u64 {
        self.hard.max(self.soft)
    }
    fn verdict(self, mark: Mark) -> Verdict {
        match mark.0 {
            mark if self.hard > mark => Verdict::Gone,
            mark if self.soft > mark => Verdict::Stale,
            _ => Verdict::Good,
        }
    }
}

/// By the hash of what they name: where two are the same, too much is purged, never too little.
type Named = HashMap<u64, Last, RandomState>;

#[derive(Debug, Default)]
struct Records {
    /// Of what is older than this, nobody knows whether it was purged: so it was.
    floor: u64,
    /// The last soft purge of everything. A hard one is the floor.
    everything: u64,
    urls: Named,
    tags: Named,
    groups: Named,
    prefixes: Vec<(Arc<str>, Last)>,
}

impl PurgeLog {
    pub(crate) fn new() -> Self {
        Self::with_room(MOST, MOST_PREFIXES)
    }
    pub(crate) fn with_room(most: usize, most_prefixes: usize) -> Self {
        let (newest, records) = (AtomicU64::new(0), RwLock::default());
        Self { newest, records, hasher: RandomState::default(), most, most_prefixes }
    }
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        // Nothing panics while it is locked; and each record stands for itself.
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
    fn hash(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    /// How far it has got.
    pub(crate) fn newest(&self) -> Mark {
        Mark(self.newest.load(Ordering::SeqCst))
    }

    /// Adds a purge. Whoever asks for the [newest](Self::newest) after it has returned gets to know of it.
    ///
    /// It says from where on the log may be [forgotten](Self::forget) where it has got too long.
    pub(crate) fn push(&self, purge: &Purge) -> Option<Mark> {
        let mut records = self.write();
        let (number, soft) = (self.newest.load(Ordering::SeqCst).saturating_add(1), purge.soft);
        match &purge.what {
            What::Url(url) => records.urls.entry(self.hash(&**url)).or_default().set(number, soft),
            What::Tag(tag) => records.tags.entry(self.hash(&**tag)).or_default().set(number, soft),
            What::Group { origin, group } => {
                let hash = self.hash((&**origin, &**group));
                records.groups.entry(hash).or_default().set(number, soft);
            }
            What::Prefix(prefix) => records.prefix(prefix).set(number, soft),
            What::Everything if soft => records.everything = number,
            // Whatever came before it is of no use any longer.
            What::Everything => *records = Records { floor: number, ..Records::default() },
        }
        self.newest.store(number, Ordering::SeqCst);
        records.half(self.most, self.most_prefixes)
    }

    /// Forgets what came up to `mark`: the owner has compared all that it has with all of that. What is still on its way and was asked for before counts as purged.
    pub(crate) fn forget(&self, mark: Mark) {
        let mut records = self.write();
        let Records { floor, everything: _, urls, tags, groups, prefixes } = &mut *records;
        *floor = (*floor).max(mark.0);
        for named in [urls, tags, groups] {
            named.retain(|_, last| last.newest() > mark.0);
        }
        prefixes.retain(|(_, last)| last.newest() > mark.0);
    }

    /// What the purges since `mark` mean for something, and how far they had got.
    pub(crate) fn check(&self, mark: Mark, key: &Key, head: &Stored) -> (Verdict, Mark) {
        let newest = self.newest();
        if mark >= newest {
            return (Verdict::Good, newest);
        }
        let records = self.read();
        // No purge is added while it is locked: this is what it is compared with.
        let newest = self.newest();
        (self.compare(&records, mark, key, head), newest)
    }

    fn compare(&self, records: &Records, mark: Mark, key: &Key, head: &Stored) -> Verdict {
        if mark.0 < records.floor {
            return Verdict::Gone;
        }
        let named = |named: &Named, hash: u64| {
            named.get(&hash).map_or(Verdict::Good, |last| last.verdict(mark))
        };
        let mut worst = Last { hard: 0, soft: records.everything }.verdict(mark);
        if !records.urls.is_empty() {
            worst = worst.max(named(&records.urls, self.hash(key.url_text())));
        }
        for tag in head.tags() {
            worst = worst.max(match tag.strip_prefix('\0') {
                // Groups are those of an origin.
                Some(_) if records.groups.is_empty() => Verdict::Good,
                Some(group) => named(&records.groups, self.hash((key.origin(), group))),
                None if records.tags.is_empty() => Verdict::Good,
                None => named(&records.tags, self.hash(&**tag)),
            });
        }
        for (prefix, last) in &records.prefixes {
            if key.url_text().starts_with(&**prefix) {
                worst = worst.max(last.verdict(mark));
            }
        }
        worst
    }
}

impl Records {
    fn prefix(&mut self, prefix: &Arc<str>) -> &mut Last {
        let at = self.prefixes.iter().position(|(known, _)| known == prefix);
        let at = at.unwrap_or_else(|| {
            self.prefixes.push((Arc::clone(prefix), Last::default()));
            self.prefixes.len() - 1
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "it was found there, or has just been put there"
        )]
        &mut self.prefixes[at].1
    }
    /// Where there are too many, the purge up to which the older half was. So that what is on its way has seldom to be given up.
    fn half(&self, most: usize, most_prefixes: usize) -> Option<Mark> {
        let named = [&self.urls, &self.tags, &self.groups];
        let mut cut = None;
        if named.iter().map(|named| named.len()).sum::<usize>() > most {
            cut = middle(named.iter().flat_map(|named| named.values()));
        }
        if self.prefixes.len() > most_prefixes {
            cut = cut.max(middle(self.prefixes.iter().map(|(_, last)| last)));
        }
        cut
    }
}

fn middle<'a>(all: impl Iterator<Item = &'a Last>) -> Option<Mark> {
    let mut numbers: Vec<u64> = all.map(|last| last.newest()).collect();
    let at = numbers.len() / 2;
    (at < numbers.len()).then(|| Mark(*numbers.select_nth_unstable(at).1))
}

#[cfg(test)]
mod tests;
