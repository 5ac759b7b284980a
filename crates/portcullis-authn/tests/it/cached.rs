//! A store before which stands what it has said.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::{
    CachedSessions, MemorySessions, SessionDigest, SessionRecord, SessionStore, Touch,
};
use portcullis_testkit::session_store_contract;

/// A store in memory that has to be asked.
#[derive(Debug)]
struct Far(MemorySessions);

/// The same for what is asked of it.
macro_rules! pass_on {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        #[async_trait::async_trait]
        impl SessionStore for Far {
            $(async fn $name(&self $(, $arg: $type)*) -> Result<$answer, portcullis_authn::StoreError> {
                self.0.$name($($arg),*).await
            })*
        }
    };
}

pass_on! {
    fn open(&self, id: &SessionDigest, touch: Touch) -> Option<SessionRecord>;
    fn create(&self, record: SessionRecord) -> ();
    fn replace(&self, id: &SessionDigest, record: SessionRecord, keeps_data: bool) -> bool;
    fn write(&self, id: &SessionDigest, version: u64, data: &str) -> bool;
    fn end(&self, id: &SessionDigest) -> bool;
    fn list(&self, owner: &str) -> Vec<SessionRecord>;
    fn end_all(&self, owner: &str, but: Option<&SessionDigest>) -> Vec<SessionDigest>;
    fn missing(&self, ids: &[SessionDigest]) -> Vec<SessionDigest>;
    fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> u64;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    session_store_contract(Arc::new(CachedSessions::new(Far(MemorySessions::new())))).await;
}

#[tokio::test]
async fn what_is_remembered_is_good_for_half_a_second_and_gone_with_what_is_done_here() {
    let store = MemorySessions::new();
    let (here, there) = (CachedSessions::new(Far(store.clone())), store);
    let at = |millis| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000) + Duration::from_millis(millis)
    };
    let touch =
        |millis| Touch::new(at(millis), Duration::from_secs(60), Duration::from_secs(1_800));
    let id = SessionDigest::from_bytes([7; 32]);
    let begin = || SessionRecord::new(id, at(0), at(10_000));
    let at_hand = |millis| here.try_open(&id, touch(millis)).map(|found| found.unwrap().is_some());
    there.create(begin()).await.unwrap();
    assert_eq!(at_hand(0), None);
    assert!(here.open(&id, touch(0)).await.unwrap().is_some());
    assert_eq!((at_hand(0), at_hand(499)), (Some(true), Some(true)));
    // Another process ends it.
    there.end(&id).await.unwrap();
    assert_eq!((at_hand(499), at_hand(500)), (Some(true), None));
    assert!(here.open(&id, touch(500)).await.unwrap().is_none());
    assert_eq!(at_hand(499), None, "that it is not there is not remembered, nor what was before");
    // A clock that was set back, and the end of the session.
    there.create(begin()).await.unwrap();
    here.open(&id, touch(9_800)).await.unwrap();
    assert_eq!((at_hand(0), at_hand(9_999), at_hand(10_000)), (None, Some(true), None));
    // This process.
    here.write(&id, 0, "{}").await.unwrap();
    assert_eq!(at_hand(9_900), None);
    assert_eq!(&*here.open(&id, touch(9_900)).await.unwrap().unwrap().data, "{}");
    here.end(&id).await.unwrap();
    assert_eq!(at_hand(9_900), None);
}
