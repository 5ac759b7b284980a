//! A store of quotas that a test drives: it has one clock for all, counts its calls, and can fail, hang, or be slow.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portcullis_ratelimit::{QuotaStore, QuotaStoreError, Take, Taken};
use portcullis_testkit::FakeTime;

/// How a store answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    Slow(Duration),
    Fails,
    Hangs,
}

/// Until when the time of a quota and a key is taken up.
type Counts = HashMap<(Arc<str>, [u8; 16]), Duration>;

#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    time: FakeTime,
    counts: Mutex<Counts>,
    mood: Mutex<Mood>,
    takes: AtomicU64,
    settles: AtomicU64,
    under_way: AtomicU64,
    most_under_way: AtomicU64,
}

impl Store {
    pub(crate) fn new(time: &FakeTime) -> Self {
        Self(Arc::new(Shared {
            time: time.clone(),
            counts: Mutex::default(),
            mood: Mutex::default(),
            takes: AtomicU64::default(),
            settles: AtomicU64::default(),
            under_way: AtomicU64::default(),
            most_under_way: AtomicU64::default(),
        }))
    }
    pub(crate) fn is(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }
    /// How many times it was asked to take.
    pub(crate) fn takes(&self) -> u64 {
        self.0.takes.load(Ordering::SeqCst)
    }
    pub(crate) fn settles(&self) -> u64 {
        self.0.settles.load(Ordering::SeqCst)
    }
    /// How many calls were under way at once.
    pub(crate) fn most_under_way(&self) -> u64 {
        self.0.most_under_way.load(Ordering::SeqCst)
    }
    async fn answers(&self) -> Result<(), QuotaStoreError> {
        let mood = *self.0.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Mood::Fails => Err(QuotaStoreError("it was told to fail".into())),
            Mood::Hangs => std::future::pending().await,
        }
    }
    fn count(&self, asked: &[Take]) -> Vec<Taken> {
        let now = self.0.time.passed();
        let mut kept = self.0.counts.lock().unwrap();
        let mut counts = kept.clone();
        let mut taken = Vec::new();
        for take in asked {
            let until = counts.entry((Arc::clone(&take.quota), take.who)).or_default();
            let (ahead, capacity) = (until.saturating_sub(now), take.rate.capacity());
            let needs = take.rate.time_of(take.needs);
            let fits = needs <= capacity && ahead + needs <= capacity + take.patience;
            let room = take.rate.units_in(capacity.saturating_sub(ahead));
            let units = if fits { take.most.min(room).max(take.needs.min(take.most)) } else { 0 };
            let ahead = ahead + take.rate.time_of(units);
            *until = now + ahead;
            taken.push(Taken::new(fits, units, ahead));
        }
        if taken.iter().all(|taken| taken.admitted) {
            *kept = counts;
            return taken;
        }
        let nothing = asked.iter().map(|take| {
            let until = kept.get(&(Arc::clone(&take.quota), take.who)).copied().unwrap_or_default();
            Taken::new(false, 0, until.saturating_sub(now))
        });
        nothing.collect()
    }
}

#[async_trait]
impl QuotaStore for Store {
    async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError> {
        self.0.takes.fetch_add(1, Ordering::SeqCst);
        let under_way = self.0.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        let answers = self.answers().await;
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        answers.map(|()| self.count(takes))
    }
    async fn settle(&self, take: &Take, units: i64) -> Result<(), QuotaStoreError> {
        self.0.settles.fetch_add(1, Ordering::SeqCst);
        self.answers().await?;
        let (now, by) = (self.0.time.passed(), take.rate.time_of(units.unsigned_abs()));
        let mut counts = self.0.counts.lock().unwrap();
        let until = counts.entry((Arc::clone(&take.quota), take.who)).or_default();
        *until = if units < 0 { until.saturating_sub(by) } else { now.max(*until) + by };
        Ok(())
    }
}
