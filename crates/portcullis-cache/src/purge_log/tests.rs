use std::time::Duration;

use super::*;
use crate::policy::Moment;

const BOOK: &str = "https://shop.example/books/1?page=2";

fn head(tags: &[&str]) -> Stored {
    Stored::value(Duration::from_secs(60), tags, Moment(0))
}

/// What a purge means for what was asked for before it.
fn verdict(url: &str, tags: &[&str], purge: &Purge) -> Verdict {
    let log = PurgeLog::new();
    let mark = log.newest();
    log.push(purge);
    let (verdict, newest) = log.check(mark, &Key::for_url(url), &head(tags));
    assert_eq!(newest, log.newest());
    // What is asked for after it is as good as ever.
    assert_eq!(log.check(newest, &Key::for_url(url), &head(tags)).0, Verdict::Good, "{purge:?}");
    verdict
}

#[test]
fn takes_out_what_a_purge_names_and_nothing_else() {
    let tags = ["books", "\0new"];
    for (purge, is_purged) in [
        (Purge::url(BOOK), true),
        (Purge::url("https://shop.example/books/1"), false),
        (Purge::url("https://shop.example/books/1?page=22"), false),
        (Purge::prefix("https://shop.example/books/"), true),
        (Purge::prefix(""), true),
        (Purge::prefix("https://shop.example/books/2"), false),
        (Purge::prefix("shop.example"), false),
        (Purge::tag("books"), true),
        (Purge::tag("book"), false),
        (Purge::tag(BOOK), false),
        // A group is none of the tags, and is one of its origin alone.
        (Purge::tag("new"), false),
        (Purge::tag("\0new"), false),
        (Purge::group("https://shop.example", "new"), true),
        (Purge::group("https://other.example", "new"), false),
        (Purge::group("https://shop.example", "books"), false),
        (Purge::everything(), true),
    ] {
        let [hard, soft] =
            if is_purged { [Verdict::Gone, Verdict::Stale] } else { [Verdict::Good; 2] };
        assert_eq!(verdict(BOOK, &tags, &purge), hard, "{purge:?}");
        assert_eq!(verdict(BOOK, &tags, &purge.clone().soft()), soft, "soft {purge:?}");
    }
}

#[test]
fn the_hardest_purge_since_counts() {
    let log = PurgeLog::new();
    let (key, head) = (Key::for_url(BOOK), head(&["books"]));
    let verdict = |mark| log.check(mark, &key, &head).0;
    let first = log.newest();
    log.push(&Purge::tag("books"));
    let second = log.newest();
    log.push(&Purge::tag("books").soft());
    let third = log.newest();
    log.push(&Purge::everything().soft());
    assert_eq!(
        [first, second, third].map(verdict),
        [Verdict::Gone, Verdict::Stale, Verdict::Stale]
    );
    let fourth = log.newest();
    log.push(&Purge::everything());
    log.push(&Purge::url(BOOK).soft());
    assert_eq!([first, fourth].map(verdict), [Verdict::Gone; 2]);
    assert_eq!(verdict(log.newest()), Verdict::Good);
}

#[test]
fn a_log_that_is_too_long_says_so_and_forgets_the_older_half() {
    for purge in [|n: u64| Purge::tag(n.to_string()), |n: u64| Purge::prefix(format!("x{n}"))] {
        let log = PurgeLog::with_room(8, 8);
        assert!((1..=8).all(|n| log.push(&purge(n)).is_none()));
        // One more of what is known takes no room.
        assert_eq!(log.push(&purge(8)), None);
        let cut = log.push(&purge(9)).unwrap();
        log.forget(cut);
        assert_eq!(log.push(&purge(10)), None, "there is room again");
        // What nothing is known of any longer counts as purged, and what is younger is still told apart.
        let check = |mark, url: &str, tags: &[&str]| {
            log.check(Mark(mark), &Key::for_url(url), &head(tags)).0
        };
        assert_eq!(check(cut.0 - 1, "y", &[]), Verdict::Gone);
        assert_eq!(check(cut.0, "y", &[]), Verdict::Good);
        assert_eq!(check(cut.0, "x9", &["9"]), Verdict::Gone);
        assert_eq!(check(log.newest().0, "x9", &["9"]), Verdict::Good);
    }
}
