//! What is in memory of a shared store, and until when it may be used.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_core::Clock;
use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{sleep, timeout};

use crate::policy::{Moment, Stored};
use crate::store::{CacheStore, CacheStoreError, Found, Mark, StoredBody};
use crate::{Key, Memory, Purge, PurgeNews};

/// How often the shared store is asked how far purges have got.
const BEAT: Duration = Duration::from_millis(250);
/// How long copies are used since it was asked for the last time.
const TRUST: Duration = Duration::from_millis(700);
/// How long it may take for the answer, and how long until what it speaks of was heard.
const PATIENCE: Duration = Duration::from_millis(250);
const HEARING: Duration = Duration::from_millis(100);
/// How long it is until it is listened again.
const PAUSE: Duration = Duration::from_millis(200);
/// Of how many purges it is known how far the memory had got then.
const MARKS: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Copies {
    memory: Memory,
    news: Arc<dyn PurgeNews>,
    clock: Clock,
    epoch: Instant,
    /// Until when copies may be used, in nanoseconds since the epoch.
    until: AtomicU64,
    /// All purges of the shared store up to this one are in the memory.
    heard: AtomicU64,
    /// How far the memory's own purges had got when it had heard of one, the oldest first. Invariant: what came after that one has a larger number there too.
    marks: Mutex<VecDeque<(u64, Mark)>>,
    /// Whoever has it tells the memory of a purge.
    turn: Turn<()>,
    told: Notify,
    /// What nothing is under.
    nothing: Key,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Copies {
    pub(crate) fn new(memory: Memory, news: Arc<dyn PurgeNews>, clock: Clock) -> Self {
        Self {
            memory,
            news,
            epoch: clock.now(),
            clock,
            until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            marks: Mutex::default(),
            turn: Turn::default(),
            told: Notify::new(),
            nothing: Key::value(""),
        }
    }
    pub(crate) fn tell_time(&mut self, clock: Clock) {
        (self.epoch, self.clock) = (clock.now(), clock);
    }
    fn now(&self) -> u64 {
        nanos(self.clock.now().saturating_duration_since(self.epoch))
    }
    pub(crate) fn is_current(&self) -> bool {
        self.now() < self.until.load(Ordering::Acquire)
    }
    /// How large a body may be.
    pub(crate) fn largest(&self) -> u64 {
        self.memory.sizes().whole
    }
    /// How far the memory had got when the shared store was there.
    fn mark(&self, shared: Mark) -> Option<Mark> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().rev().find(|(at, _)| *at <= shared.0).map(|(_, mark)| *mark)
    }

    /// The copies of all variants, where there are some that may be used.
    pub(crate) fn find(&self, key: &Key) -> Option<Found> {
        if !self.is_current() {
            return None;
        }
        // Before the look-up: what is purged meanwhile came later.
        let mark = Mark(self.heard.load(Ordering::Acquire));
        let found = self.memory.find_now(key)?;
        let now = Moment::from(self.clock.wall());
        let is_fresh = !found.entries.is_empty()
            && found.entries.iter().all(|entry| !entry.is_stale && entry.head.ttl(now) > 0);
        is_fresh.then_some(Found { entries: found.entries, mark })
    }
    /// Copies what was found in the shared store.
    pub(crate) fn take(&self, key: &Key, found: &Found) {
        let now = Moment::from(self.clock.wall());
        let bodies = found.entries.iter().map(|entry| match &entry.body {
            StoredBody::Here(body) if !entry.is_stale && entry.head.ttl(now) > 0 => {
                let len: u64 = body.iter().map(|piece| piece.len() as u64).sum();
                (len <= self.largest()).then_some((&entry.head, body))
            }
            StoredBody::Here(_) | StoredBody::Elsewhere(_) => None,
        });
        // All of them, or none: one that is missing here would be taken for missing there.
        let Some(bodies) = bodies.collect::<Option<Vec<_>>>() else { return };
        if let Some(mark) = self.mark(found.mark) {
            // The newest is the last that is put.
            for (head, body) in bodies.into_iter().rev() {
                self.memory.put_now(key, head, body, mark);
            }
        }
    }
    /// What was stored takes the place of its copy, where there are copies of its key.
    pub(crate) fn replace(&self, key: &Key, head: &Arc<Stored>, body: &Arc<[Bytes]>, mark: Mark) {
        let is_there = self.memory.find_now(key).is_some_and(|found| !found.entries.is_empty());
        if let Some(mark) = self.mark(mark).filter(|_| is_there) {
            self.memory.put_now(key, head, body, mark);
        }
    }
    pub(crate) async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        match self.mark(mark) {
            Some(mark) => self.memory.refresh(key, old, new, mark).await,
            None => self.memory.remove(key, old).await,
        }
    }
    pub(crate) async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        self.memory.remove(key, old).await
    }
    /// `None` where it cannot be told here.
    pub(crate) fn purged_since(&self, mark: Mark, key: &Key, head: &Stored) -> Option<bool> {
        let own = self.mark(mark).filter(|_| self.is_current())?;
        Some(self.memory.purged_since(own, key, head))
    }

    /// Applies what was heard.
    async fn hear(&self, purge: &Purge, mark: Mark) {
        let turn = self.turn.lock().await;
        let heard = self.heard.load(Ordering::Acquire);
        if mark.0 <= heard {
            // It comes late: all copies were dropped for it already, or it tells of something else.
            self.tell(purge).await;
        } else if mark.0 == heard + 1 {
            self.tell(purge).await;
            self.has_heard(mark);
        } else {
            self.tell(&Purge::everything()).await;
            self.has_heard(mark);
        }
        drop(turn);
        self.told.notify_waiters();
    }
    async fn tell(&self, purge: &Purge) {
        if let Err(error) = self.memory.purge(purge).await {
            tracing::warn!("copies are not used any longer: {error}");
            self.until.store(0, Ordering::Release);
        }
    }
    fn has_heard(&self, mark: Mark) {
        let own = self.memory.find_now(&self.nothing).map(|found| found.mark).unwrap_or_default();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.back().is_some_and(|(last, _)| *last >= mark.0) {
            // The numbers of the shared store have begun anew.
            marks.clear();
        }
        if marks.len() >= MARKS {
            marks.pop_front();
        }
        marks.push_back((mark.0, own));
        self.heard.store(mark.0, Ordering::Release);
    }
    /// Hears of all purges that there are by now, or drops all copies. Copies may be used for a while then.
    pub(crate) async fn catch_up(&self) {
        let (asked, before) = (self.now(), self.heard.load(Ordering::Acquire));
        let mark = match timeout(PATIENCE, self.news.mark()).await {
            Ok(Ok(mark)) => mark,
            Ok(Err(error)) => {
                return tracing::debug!("whether copies are current is unknown: {error}");
            }
            Err(_) => return tracing::debug!("whether copies are current is not said in time"),
        };
        let all = async {
            loop {
                let told = self.told.notified();
                if self.heard.load(Ordering::Acquire) >= mark.0 {
                    break;
                }
                told.await;
            }
        };
        let is_first = self.marks.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_first || mark.0 < before || timeout(HEARING, all).await.is_err() {
            let _turn = self.turn.lock().await;
            // Meanwhile it may have been heard.
            if is_first || mark.0 < before || self.heard.load(Ordering::Acquire) < mark.0 {
                self.tell(&Purge::everything()).await;
                self.has_heard(mark);
            }
        }
        self.until.fetch_max(asked.saturating_add(nanos(TRUST)), Ordering::AcqRel);
    }

    /// Asks again and again how far purges have got.
    pub(crate) async fn ask_on(&self) {
        loop {
            self.catch_up().await;
            sleep(BEAT).await;
        }
    }
    /// Listens, and again when nothing can be heard any longer.
    pub(crate) async fn hear_on(&self) {
        let mut said = false;
        loop {
            match self.news.listen().await {
                Ok(mut news) => {
                    said = false;
                    while let Some((purge, mark)) = news.next().await {
                        self.hear(&purge, mark).await;
                    }
                }
                Err(error) if !said => {
                    tracing::warn!(
                        "purges are not heard, and all copies dropped for each: {error}"
                    );
                    said = true;
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }
}
