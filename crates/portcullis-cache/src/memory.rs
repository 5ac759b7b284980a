//! The store in memory.
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::quality::RandomState;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::policy::Stored;
use crate::purge::What;
use crate::purge_log::{PurgeLog, Verdict};
use crate::store::{CacheStore, CacheStoreError, Entry, Found, Mark, Sizes, StoredBody};
use crate::variants::{Variant, Variants};
use crate::{Key, Purge};

/// The largest body by default, in bytes, where it is less than an eighth of the memory.
const LARGEST: u64 = 16 * 1024 * 1024;
/// How many keys are compared before other tasks get a turn.
const SWEEP: usize = 256;

/// Keeps responses in the memory of this process, in no more bytes than it is given.
///
/// What is asked for often stays, and the rest gives way. What it counts are bodies, fields, keys, and what it takes to keep them; for a moment it may be a little more. A look-up
/// copies nothing and waits for nothing.
///
/// A key has at most 32 variants, which take at most half of the memory together: the oldest give way.
///
/// ```
/// use portcullis_cache::Memory;
///
/// let store = Memory::new(64 * 1024 * 1024).largest(1024 * 1024);
/// assert_eq!(store.usage().entries, 0);
/// ```
///
/// Clones share what is stored.
#[derive(Clone)]
pub struct Memory {
    cache: Cache<Held, Arc<Variants>, RandomState>,
    shared: Arc<Shared>,
    bytes: u64,
    largest: u64,
}

#[derive(Debug)]
struct Shared {
    log: PurgeLog,
    evicted: AtomicU64,
    sweeping: AtomicBool,
}

/// A key that is looked up by its bytes.
struct Held(Key);

impl Borrow<[u8]> for Held {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

/// What a [`Memory`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// How many keys. What was purged counts until it is asked for, or gives way.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many keys have had to give way to others, since the beginning.
    pub evictions: u64,
}

impl Memory {
    /// Keeps at most as many bytes. A body has at most an eighth of them, and at most 16 MiB.
    pub fn new(bytes: u64) -> Self {
        Self::with_log(bytes, PurgeLog::new())
    }
    fn with_log(bytes: u64, log: PurgeLog) -> Self {
        let (evicted, sweeping) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { log, evicted, sweeping });
        let counts = Arc::clone(&shared);
        let cache = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, variants: &Arc<Variants>| variants.weight)
            .expire_after(Life)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counts.evicted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        Self { cache, shared, bytes, largest: LARGEST.min(bytes / 8) }
    }
    /// How large a body may be, in bytes. Default: an eighth of the memory, and at most 16 MiB. More than half of the memory counts as half.
    #[must_use]
    pub fn largest(self, bytes: u64) -> Self {
        Self { largest: bytes.min(self.bytes / 2), ..self }
    }
    /// What it holds. It is exact, and so does the tidying that is otherwise done along with requests: for a scrape, not for each request.
    pub fn usage(&self) -> MemoryUsage {
        self.cache.run_pending_tasks();
        MemoryUsage {
            entries: self.cache.entry_count(),
            bytes: self.cache.weighted_size(),
            evictions: self.shared.evicted.load(Ordering::Relaxed),
        }
    }

    fn log(&self) -> &PurgeLog {
        &self.shared.log
    }
    fn look(&self, key: &Key) -> Found {
        // Before the look-up: a purge that comes between is found out the next time.
        let mark = self.log().newest();
        let Some(variants) = self.cache.get(key.as_bytes()) else {
            return Found { mark, ..Found::default() };
        };
        if variants.is_checked(mark) || variants.sift(self.log(), key).is_none() {
            return Found { entries: Arc::clone(&variants.entries), mark };
        }
        let left = self.change(key, |_| Change::Nothing);
        let entries = left.map(|left| Arc::clone(&left.entries)).unwrap_or_default();
        Found { entries, mark }
    }
    /// Changes what is stored under a key, of which the purges have taken their part; says what is there then. Changes of one key come one after the other.
    fn change(
        &self,
        key: &Key,
        change: impl FnOnce(&mut Vec<Variant>) -> Change,
    ) -> Option<Arc<Variants>> {
        let mut left = None;
        self.cache.entry(Held(key.clone())).and_compute_with(|present| {
            let present = present.map(moka::Entry::into_value);
            let sifted = present.as_ref().and_then(|present| present.sift(self.log(), key));
            let is_sifted = sifted.is_some();
            let mut variants = match (sifted, &present) {
                (Some(sifted), _) => sifted,
                (None, Some(present)) => present.all().collect(),
                (None, None) => Vec::new(),
            };
            let is_changed = matches!(change(&mut variants), Change::Done);
            if !is_sifted && !is_changed {
                left = present;
                return Op::Nop;
            }
            if variants.is_empty() {
                return Op::Remove;
            }
            let variants = Arc::new(Variants::new(key, variants, self.bytes / 2));
            left = Some(Arc::clone(&variants));
            Op::Put(variants)
        });
        left
    }
    /// What is put at `mark`, unless it has been purged since.
    fn entry(
        &self,
        key: &Key,
        head: &Arc<Stored>,
        body: StoredBody,
        mark: Mark,
    ) -> Option<Variant> {
        let (verdict, mark) = self.log().check(mark, key, head);
        let is_stale = verdict == Verdict::Stale;
        let entry = Entry { head: Arc::clone(head), body, is_stale };
        (verdict != Verdict::Gone).then_some(Variant { entry, mark })
    }
    /// Compares all that is stored with all purges, so that the older half of them can be forgotten.
    async fn sweep(&self, cut: Mark) {
        if self.shared.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let _sweeping = Sweeping(&self.shared.sweeping);
        for (number, (key, variants)) in self.cache.iter().enumerate() {
            if variants.sift(self.log(), &key.0).is_some() {
                self.change(&key.0, |_| Change::Nothing);
            }
            if number % SWEEP == SWEEP - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.log().forget(cut);
    }
}

/// Whether a change was one.
enum Change {
    Nothing,
    Done,
}

/// Lets others sweep when this sweep ends, or is given up.
struct Sweeping<'a>(&'a AtomicBool);

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[async_trait]
impl CacheStore for Memory {
    fn find_now(&self, key: &Key) -> Option<Found> {
        Some(self.look(key))
    }
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError> {
        Ok(self.look(key))
    }
    fn sizes(&self) -> Sizes {
        Sizes { whole: self.largest, streamed: 0 }
    }
    fn put_now(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        let len: u64 = body.iter().map(|piece| piece.len() as u64).sum();
        if len > self.largest {
            return;
        }
        self.change(key, |variants| {
            let body = StoredBody::Here(Arc::clone(body));
            let Some(variant) = self.entry(key, head, body, mark) else { return Change::Nothing };
            variants.retain(|other| other.entry.head.vary != head.vary);
            variants.insert(0, variant);
            Change::Done
        });
    }
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        self.change(key, |variants| {
            let Some(at) = variants.iter().position(|variant| is_same(&variant.entry.head, old))
            else {
                return Change::Nothing;
            };
            let body = variants.remove(at).entry.body;
            if let Some(variant) = self.entry(key, &new, body, mark) {
                // It may vary by something else than before.
                variants.retain(|other| other.entry.head.vary != new.vary);
                variants.insert(0, variant);
            }
            Change::Done
        });
        Ok(())
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        self.change(key, |variants| {
            let before = variants.len();
            variants.retain(|variant| !is_same(&variant.entry.head, old));
            if variants.len() == before { Change::Nothing } else { Change::Done }
        });
        Ok(())
    }
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError> {
        let too_long = self.log().push(purge);
        if !purge.soft && purge.what == What::Everything {
            // The log has seen to it that nobody gets it. This gives the memory back.
            self.cache.invalidate_all();
        }
        if let Some(cut) = too_long {
            self.sweep(cut).await;
        }
        Ok(())
    }
    fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> bool {
        self.log().check(mark, key, head).0 != Verdict::Good
    }
}

/// Whether both are the same response: mostly it is what was found here.
fn is_same(stored: &Arc<Stored>, old: &Stored) -> bool {
    std::ptr::eq(Arc::as_ptr(stored), old)
        || stored.times.requested == old.times.requested
            && stored.times.received == old.times.received
            && stored.status == old.status
            && stored.vary == old.vary
            && stored.headers == old.headers
}

/// When a key is of no use to anybody any longer.
struct Life;

impl Expiry<Held, Arc<Variants>> for Life {
    fn expire_after_create(&self, _: &Held, it: &Arc<Variants>, _: Instant) -> Option<Duration> {
        it.life
    }
    fn expire_after_update(
        &self,
        _: &Held,
        it: &Arc<Variants>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        it.life
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("bytes", &self.bytes)
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
