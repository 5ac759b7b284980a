//! Many keys, each with one atomic number: until when its time is taken up.
//!
//! The table has levels of sets of eight entries; a key may lie in one set of each level. A level is made when there is no room in those before it, each
//! sixteen times as large, so that few keys take little memory and many take sixteen bytes each. A key that is there is changed without a lock, by
//! comparing and exchanging its number. One that is not there is put under a lock of its sets, into an entry whose time has passed, which loses
//! nothing. When there is none and no further level, the one with the least time taken up has to go.
use super::sync::{AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, SETS, WAYS, yield_now};

/// By how much a level is larger than the one before.
const GROWTH: usize = 16;
/// The number of an entry that is being given to another key.
const CHANGING: u64 = u64::MAX;

pub(crate) struct Table {
    levels: Vec<Level>,
    locks: Vec<Mutex<()>>,
}

struct Level {
    sets: OnceLock<Box<[Set]>>,
    /// How many sets it has once it is made.
    size: usize,
}

/// Keys in one line of the processor's cache, their numbers in the next, which is fetched with it.
#[derive(Default)]
#[repr(align(128))]
struct Set {
    keys: [AtomicU64; WAYS],
    used_until: [AtomicU64; WAYS],
}

/// Where a key is.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a AtomicU64,
    used_until: &'a AtomicU64,
}

impl Table {
    /// For so many keys: with some more entries, since sets fill unevenly.
    pub(crate) fn new(keys: usize) -> Self {
        let wanted = (keys.saturating_mul(7) / 4).div_ceil(WAYS).next_power_of_two().max(SETS);
        let mut levels = Vec::new();
        let mut size = SETS;
        while size < wanted {
            levels.push(Level { sets: OnceLock::new(), size });
            size = size.saturating_mul(GROWTH);
        }
        levels.push(Level { sets: OnceLock::new(), size: wanted });
        Self { levels, locks: (0..SETS).map(|_| Mutex::new(())).collect() }
    }

    /// Changes the number of a key, which is 0 where it is not there: `change` says what becomes of it, and may be asked several times. Says what the
    /// number is then. What is taken up until `now` has passed.
    pub(crate) fn change<E>(
        &self,
        key: u64,
        now: u64,
        mut change: impl FnMut(u64) -> Result<u64, E>,
    ) -> Result<u64, E> {
        let key = key.max(1);
        loop {
            if let Some(entry) = self.find(key) {
                if let Some(done) = entry.change(key, &mut change) {
                    return done;
                }
            } else {
                let new = change(0)?;
                if self.insert(key, now, new) {
                    return Ok(new);
                }
            }
        }
    }

    /// Makes the number of a key 0, where it is there.
    pub(crate) fn forget(&self, key: u64) {
        if self.get(key).is_some() {
            // It always may.
            _ = self.change(key, 0, |_| Ok::<_, ()>(0));
        }
    }

    /// The number of a key; `None` where it is not there.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        let key = key.max(1);
        loop {
            let entry = self.find(key)?;
            if let Some(used_until) = entry.read(key) {
                return Some(used_until);
            }
        }
    }

    /// How many bytes its entries take.
    pub(crate) fn bytes(&self) -> usize {
        let made = self.levels.iter().filter_map(|level| level.sets.get());
        made.map(|sets| sets.len() * size_of::<Set>()).sum()
    }
    /// How many bytes its entries take at most.
    pub(crate) fn most_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.size * size_of::<Set>()).sum()
    }

    fn find(&self, key: u64) -> Option<Entry<'_>> {
        // The largest has the most.
        self.levels.iter().rev().find_map(|level| level.set(key)?.find(key))
    }

    /// Puts a key where it is not; says whether it did.
    fn insert(&self, key: u64, now: u64, new: u64) -> bool {
        let _lock = self.lock(key);
        if self.find(key).is_some() {
            return false;
        }
        loop {
            let found = self.free(key, now).or_else(|| self.least(key));
            let Some((entry, was)) = found else { return true };
            // Whoever it belongs to may be changing it: then it is another's turn.
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            if entry.used_until.compare_exchange(was, CHANGING, order.0, order.1).is_ok() {
                entry.key.store(key, Ordering::Release);
                entry.used_until.store(new, Ordering::Release);
                return true;
            }
        }
    }

    fn lock(&self, key: u64) -> Option<MutexGuard<'_, ()>> {
        // Nothing panics under it, and it holds nothing.
        self.locks.get(place(key, SETS))?.lock().ok()
    }

    /// An entry whose time has passed, with its number; a new level has some.
    fn free(&self, key: u64, now: u64) -> Option<(Entry<'_>, u64)> {
        self.levels.iter().find_map(|level| {
            let sets = level.sets.get_or_init(|| (0..level.size).map(|_| Set::default()).collect());
            let mut numbered = sets.get(place(key, sets.len()))?.numbered();
            numbered.find(|(_, used_until)| *used_until <= now)
        })
    }

    /// The entry with the least time taken up, with its number.
    fn least(&self, key: u64) -> Option<(Entry<'_>, u64)> {
        let sets = self.levels.iter().filter_map(|level| level.set(key));
        sets.flat_map(Set::numbered).min_by_key(|(_, used_until)| *used_until)
    }
}

impl Level {
    fn set(&self, key: u64) -> Option<&Set> {
        let sets = self.sets.get()?;
        sets.get(place(key, sets.len()))
    }
}

/// Which of so many sets, a power of two, is a key's.
fn place(key: u64, sets: usize) -> usize {
    // A key is a hash, of which every bit is as good as the others.
    usize::try_from(key & (sets as u64 - 1)).unwrap_or_default()
}

impl Set {
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.keys.iter().zip(&self.used_until).map(|(key, used_until)| Entry { key, used_until })
    }
    fn numbered(&self) -> impl Iterator<Item = (Entry<'_>, u64)> {
        self.entries().map(|entry| (entry, entry.used_until.load(Ordering::Acquire)))
    }
    fn find(&self, key: u64) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.is_of(key))
    }
}

impl Entry<'_> {
    fn is_of(self, key: u64) -> bool {
        self.key.load(Ordering::Acquire) == key
    }

    /// The number, unless the entry has become another key's.
    fn read(self, key: u64) -> Option<u64> {
        let used_until = self.used_until.load(Ordering::Acquire);
        if used_until == CHANGING {
            yield_now();
            return None;
        }
        self.is_of(key).then_some(used_until)
    }

    /// Changes the number, unless the entry has become another key's.
    fn change<E>(
        self,
        key: u64,
        change: &mut impl FnMut(u64) -> Result<u64, E>,
    ) -> Option<Result<u64, E>> {
        let was = self.read(key)?;
        let new = match change(was) {
            Ok(new) => new.min(CHANGING - 1),
            Err(error) => return Some(Err(error)),
        };
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.used_until.compare_exchange(was, new, order.0, order.1).ok()?;
        if self.is_of(key) {
            return Some(Ok(new));
        }
        // It became another key's in between, whose number is by chance the same: what was added is taken away again.
        self.take_back(new.saturating_sub(was));
        None
    }

    fn take_back(self, added: u64) {
        let mut was = self.used_until.load(Ordering::Acquire);
        while was != CHANGING {
            let new = was.saturating_sub(added);
            let order = (Ordering::AcqRel, Ordering::Acquire);
            match self.used_until.compare_exchange(was, new, order.0, order.1) {
                Ok(_) => return,
                Err(is) => was = is,
            }
        }
    }
}
