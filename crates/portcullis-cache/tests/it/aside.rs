//! Values that application code keeps.
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_cache::policy::Stored;
use portcullis_cache::store::{CacheStore, CacheStoreError, Found, Mark, Sizes};
use portcullis_cache::{CacheHandle, Key, Memory, Purge};
use portcullis_testkit::FakeTime;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    title: String,
    copies: usize,
}

fn book(copies: usize) -> Book {
    Book { title: "Emma \u{1f4d6}".to_owned(), copies }
}

fn memory() -> (CacheHandle, FakeTime) {
    let time = FakeTime::new();
    (CacheHandle::new(Arc::new(Memory::new(1 << 20))).clock(time.clock()), time)
}

/// What is there, or `copies`.
async fn get(cache: &CacheHandle, copies: usize) -> usize {
    let load = || ready(Ok::<_, Infallible>(book(copies)));
    let Ok(found) = cache.get_or_load("emma", MINUTE, &["books", "austen"], load).await;
    assert_eq!(found, book(found.copies));
    found.copies
}

#[tokio::test]
async fn keeps_a_value_as_long_as_it_is_good() {
    let (cache, time) = memory();
    assert_eq!(get(&cache, 1).await, 1);
    time.advance(Duration::from_millis(59_999));
    assert_eq!(get(&cache, 2).await, 1);
    time.advance(Duration::from_millis(1));
    assert_eq!(get(&cache, 3).await, 3);

    for purge in [Purge::tag("books"), Purge::tag("austen").soft(), Purge::everything()] {
        let before = get(&cache, 0).await;
        cache.purge(Purge::tag("other")).await.unwrap();
        assert_eq!(get(&cache, 0).await, before);
        cache.purge(purge.clone()).await.unwrap();
        assert_eq!(get(&cache, before + 1).await, before + 1, "{purge:?}");
    }
    let before = get(&cache, 0).await;
    cache.forget("emm").await.unwrap();
    assert_eq!(get(&cache, 0).await, before);
    cache.forget("emma").await.unwrap();
    assert_eq!(get(&cache, before + 1).await, before + 1);
}

#[tokio::test]
async fn less_than_a_second_is_not_more() {
    let (cache, time) = memory();
    let get = |value: u8| {
        cache.get_or_load("short", Duration::from_millis(300), &[], move || {
            ready(Ok::<_, ()>(value))
        })
    };
    assert_eq!(get(1).await, Ok(1));
    time.advance(Duration::from_millis(299));
    assert_eq!(get(2).await, Ok(1));
    time.advance(Duration::from_millis(1));
    assert_eq!(get(3).await, Ok(3));
}

/// Loads that wait until a test lets them go.
struct Loads {
    begun: AtomicUsize,
    gate: Semaphore,
}

impl Loads {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: AtomicUsize::new(0), gate: Semaphore::new(0) })
    }
    async fn load(&self) -> Result<Book, Infallible> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        Ok(book(number))
    }
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

fn ask(callers: &mut JoinSet<usize>, cache: &CacheHandle, loads: &Arc<Loads>) {
    let (cache, loads) = (cache.clone(), Arc::clone(loads));
    callers.spawn(async move {
        let Ok(book) = cache.get_or_load("emma", MINUTE, &["books"], || loads.load()).await;
        book.copies
    });
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_callers_load_once() {
    // A store that cannot tell what was purged lets only those share who came before the load began.
    let stores: [(Arc<dyn CacheStore>, usize); 2] =
        [(Arc::new(Memory::new(1 << 20)), 1), (Arc::new(Broken), 2)];
    for (store, others) in stores {
        let cache = CacheHandle::new(Arc::clone(&store));
        let (loads, mut callers) = (Loads::new(), JoinSet::new());
        (0..50).for_each(|_| ask(&mut callers, &cache, &loads));
        settle().await;
        assert_eq!(loads.begun(), 1, "{store:?}");
        loads.gate.add_permits(50);
        let mut copies = callers.join_all().await;
        copies.sort_unstable();
        assert_eq!((copies[0], &copies[1..]), (1, &[others; 49][..]), "{store:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_on_many_threads_load_once() {
    for _ in 0..50 {
        let (cache, _) = memory();
        let (loads, mut callers) = (Loads::new(), JoinSet::new());
        loads.gate.add_permits(100);
        (0..40).for_each(|_| ask(&mut callers, &cache, &loads));
        assert_eq!(callers.join_all().await, [1; 40]);
    }
}

#[tokio::test]
async fn a_load_that_is_given_up_is_taken_over() {
    let (cache, _) = memory();
    let given_up = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = || pending::<Result<Book, Infallible>>();
            let Ok(book) = cache.get_or_load("emma", MINUTE, &[], load).await;
            book.copies
        })
    };
    settle().await;
    let (loads, mut callers) = (Loads::new(), JoinSet::new());
    (0..5).for_each(|_| ask(&mut callers, &cache, &loads));
    settle().await;
    assert_eq!(loads.begun(), 0);
    given_up.abort();
    settle().await;
    assert_eq!(loads.begun(), 1);
    loads.gate.add_permits(5);
    assert_eq!(callers.join_all().await, [1; 5]);
}

#[tokio::test]
async fn an_error_is_told_to_whoever_has_loaded_and_is_not_kept() {
    let (cache, _) = memory();
    let loads = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        callers.spawn(async move {
            let load = async || {
                let number = loads.fetch_add(1, Ordering::SeqCst);
                settle().await;
                if number < 2 { Err(number) } else { Ok(book(number)) }
            };
            cache.get_or_load("emma", MINUTE, &[], load).await.map(|book| book.copies)
        });
    }
    let mut results = callers.join_all().await;
    results.sort_unstable();
    // The four who waited for the first try for themselves, and not one after the other.
    assert_eq!(results, [Ok(2), Ok(3), Ok(4), Err(0), Err(1)]);
}

#[tokio::test]
async fn a_purge_covers_what_is_being_loaded() {
    for forget in [false, true] {
        let (cache, _) = memory();
        let (loads, mut before, mut after) = (Loads::new(), JoinSet::new(), JoinSet::new());
        ask(&mut before, &cache, &loads);
        settle().await;
        if forget {
            cache.forget("emma").await.unwrap();
        } else {
            cache.purge(Purge::tag("books")).await.unwrap();
        }
        (0..5).for_each(|_| ask(&mut after, &cache, &loads));
        settle().await;
        loads.gate.add_permits(1);
        assert_eq!(before.join_all().await, [1]);
        settle().await;
        assert_eq!(
            loads.begun(),
            2,
            "what was loaded before the purge is good for nobody who came after it"
        );
        loads.gate.add_permits(5);
        assert_eq!(after.join_all().await, [2; 5]);
        assert_eq!(get(&cache, 9).await, 2);
    }
}

#[tokio::test]
async fn another_type_is_loaded_anew() {
    let (cache, _) = memory();
    assert_eq!(get(&cache, 1).await, 1);
    let text = || ready(Ok::<_, Infallible>("text".to_owned()));
    let Ok(found) = cache.get_or_load("emma", MINUTE, &[], text).await;
    assert_eq!(found, "text");
}

#[tokio::test]
async fn a_store_that_fails_means_loading() {
    let cache = CacheHandle::new(Arc::new(Broken));
    assert_eq!(get(&cache, 1).await, 1);
    assert_eq!(get(&cache, 2).await, 2);
    cache.purge(Purge::everything()).await.unwrap_err();
    // What is too large is not kept.
    let cache = CacheHandle::new(Arc::new(Memory::new(1 << 20).largest(10)));
    assert_eq!(get(&cache, 1).await, 1);
    assert_eq!(get(&cache, 2).await, 2);
}

/// A store that cannot answer.
#[derive(Debug)]
struct Broken;

fn broken() -> CacheStoreError {
    CacheStoreError("the store is gone".into())
}

#[async_trait]
impl CacheStore for Broken {
    fn find_now(&self, _: &Key) -> Option<Found> {
        None
    }
    async fn find(&self, _: &Key) -> Result<Found, CacheStoreError> {
        Err(broken())
    }
    fn sizes(&self) -> Sizes {
        Sizes { whole: 1_000, streamed: 0 }
    }
    fn put_now(&self, _: &Key, _: &Arc<Stored>, _: &Arc<[Bytes]>, _: Mark) {}
    async fn refresh(
        &self,
        _: &Key,
        _: &Stored,
        _: Arc<Stored>,
        _: Mark,
    ) -> Result<(), CacheStoreError> {
        Err(broken())
    }
    async fn remove(&self, _: &Key, _: &Stored) -> Result<(), CacheStoreError> {
        Err(broken())
    }
    async fn purge(&self, _: &Purge) -> Result<(), CacheStoreError> {
        Err(broken())
    }
    fn purged_since(&self, _: Mark, _: &Key, _: &Stored) -> bool {
        true
    }
}
