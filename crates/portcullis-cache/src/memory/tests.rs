use super::*;
use crate::policy::Moment;

fn log_of(most: usize) -> PurgeLog {
    PurgeLog::with_room(most, most)
}

fn head(tags: &[&str]) -> Arc<Stored> {
    Arc::new(Stored::value(Duration::from_secs(60), tags, Moment(0)))
}

fn body(len: usize) -> Arc<[Bytes]> {
    Arc::from([Bytes::from(vec![b'x'; len])])
}

fn key(number: usize) -> Key {
    Key::for_url(&format!("https://shop.example/{number}"))
}

#[tokio::test]
async fn compares_all_that_it_has_before_it_forgets_purges() {
    let store = Memory::with_log(1 << 20, log_of(8));
    let before = store.log().newest();
    for number in 0..20 {
        store.put_now(&key(number), &head(&[&format!("tag {number}")]), &body(10), before);
    }
    for number in 0..15 {
        store.purge(&Purge::tag(format!("tag {number}"))).await.unwrap();
    }
    let is_there = |number| !store.find_now(&key(number)).unwrap().entries.is_empty();
    let there: Vec<usize> = (0..20).filter(|number| is_there(*number)).collect();
    assert_eq!(there, [15, 16, 17, 18, 19]);
    // Of what is still on its way, nobody knows any longer.
    assert!(store.purged_since(before, &key(0), &head(&[])));
    store.put_now(&key(30), &head(&[]), &body(10), before);
    assert!(!is_there(30));
    assert!(!store.purged_since(store.log().newest(), &key(0), &head(&[])));
}

#[tokio::test]
async fn an_entry_is_compared_once_for_each_purge() {
    let store = Memory::new(1 << 20);
    store.put_now(&key(0), &head(&["kept"]), &body(10), Mark(0));
    store.purge(&Purge::tag("other")).await.unwrap();
    let kept = |store: &Memory| store.cache.get(key(0).as_bytes()).unwrap();
    let newest = store.log().newest();
    assert!(!kept(&store).is_checked(newest));
    store.find_now(&key(0)).unwrap();
    assert!(kept(&store).is_checked(newest));
}

#[test]
fn variants_give_way_to_newer_ones() {
    let variants = |number: usize, len: usize, room: u64| {
        let entry = Entry { head: head(&[]), body: StoredBody::Here(body(len)), is_stale: false };
        let variants = vec![Variant { entry, mark: Mark(0) }; number];
        let kept = Variants::new(&key(0), variants, room);
        (kept.entries.len(), kept.weight)
    };
    assert_eq!(variants(40, 1, 1 << 30).0, 32);
    let (number, weight) = variants(40, 1_000, 10_000);
    assert!((2..10).contains(&number) && (9_000..=10_000).contains(&weight), "{number} {weight}");
    assert_eq!(variants(2, 20_000, 10_000).0, 1, "the newest stays in any case");
}
