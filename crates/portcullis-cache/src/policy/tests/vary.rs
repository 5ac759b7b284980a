use std::sync::Arc;

use super::*;
use crate::policy::select;
use crate::store::{Entry, StoredBody};

fn matches(vary: &[&str], first: Fields<'_>, second: Fields<'_>) -> bool {
    let mut given: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
    given.push(("cache-control", "max-age=5000"));
    let stored = store(RFC, first, 200, &given).unwrap();
    let headers = fields(second);
    stored.matches(Asked { method: &Method::GET, headers: &headers, is_authenticated: false })
}

#[test]
fn fits_what_says_the_same() {
    let three = &[("foo", "1"), ("bar", "abc"), ("baz", "789")][..];
    for (name, vary, first, second, want) in [
        ("vary-match", &["Foo"][..], &[("foo", "1")][..], &[("foo", "1")][..], true),
        ("vary-no-match", &["Foo"], &[("foo", "1")], &[("foo", "2")], false),
        ("vary-omit-stored", &["Foo"], &[], &[("foo", "1")], false),
        ("vary-omit", &["Foo"], &[("foo", "1")], &[], false),
        ("empty is not absent", &["Foo"], &[("foo", "")], &[], false),
        ("vary-3-match", &["Foo, Bar, Baz"], three, three, true),
        ("in lines", &["Foo", "", "Bar, Baz"], three, three, true),
        (
            "vary-3-no-match",
            &["Foo, Bar, Baz"],
            three,
            &[("foo", "2"), ("bar", "abc"), ("baz", "789")],
            false,
        ),
        (
            "vary-3-order",
            &["Foo, Bar, Baz"],
            three,
            &[("foo", "1"), ("baz", "789"), ("bar", "abcde")],
            false,
        ),
        ("vary-3-omit", &["Foo, Bar, Baz"], &[("foo", "1")], &[("foo", "1")], true),
        ("what is not named", &["Foo"], &[("bar", "1")], &[("bar", "2")], true),
        (
            "vary-normalise-combine",
            &["Foo"],
            &[("foo", "1, 2")],
            &[("foo", "1"), ("foo", "2")],
            true,
        ),
        ("vary-normalise-space", &["Foo"], &[("foo", "1,2")], &[("foo", " 1 ,\t2 ")], true),
        ("order", &["Foo"], &[("foo", "1, 2")], &[("foo", "2, 1")], false),
        (
            "vary-normalise-lang-case",
            &["accept-language"],
            &[("accept-language", "en, de")],
            &[("accept-language", "eN, De")],
            true,
        ),
        ("case", &["Foo"], &[("foo", "a")], &[("foo", "A")], false),
        ("within quotes", &["Foo"], &[("foo", "\"a, b\"")], &[("foo", "\"a,b\"")], false),
        (
            "within quotes, escaped",
            &["Foo"],
            &[("foo", "\"a\\\", b\"")],
            &[("foo", "\"a\\\",b\"")],
            false,
        ),
        ("cookies", &["Cookie"], &[("cookie", "a=1, b")], &[("cookie", "a=1,b")], false),
        ("other bytes", &["Foo"], &[("foo", "é")], &[("foo", "é")], true),
        ("bytes of others", &["Foo"], &[("foo", "é")], &[("foo", "Ã©")], false),
    ] {
        assert_eq!(matches(vary, first, second), want, "{name}");
    }
}

#[test]
fn a_star_fits_nothing() {
    for lines in
        [&["*"][..], &["*, *"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"], &["Foo", "*"]]
    {
        let mut given: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        given.push(("cache-control", "max-age=5000"));
        assert_eq!(store(RFC, &[], 200, &given).unwrap_err(), NotStored::VaryStar, "{lines:?}");
    }
    let given = &[("vary", "not a name"), ("cache-control", "max-age=5000")];
    assert_eq!(store(RFC, &[], 200, given).unwrap_err(), NotStored::Malformed);
}

fn entry(status: u16, given: Fields<'_>, asked: Fields<'_>, body: &'static str) -> Entry {
    let given: Vec<_> = given
        .iter()
        .copied()
        .chain([("cache-control", "max-age=5000"), ("etag", "\"a\"")])
        .collect();
    let head = Arc::new(store(RFC, asked, status, &given).unwrap());
    Entry { head, body: StoredBody::Here(Arc::new([body.into()])), is_stale: false }
}

#[test]
fn chooses_the_newest_that_fits_and_what_is_whole() {
    let old = entry(200, &[("date", "@-20"), ("vary", "foo")], &[("foo", "1")], "old");
    let new = entry(200, &[("date", "@-10"), ("vary", "foo")], &[("foo", "1")], "new");
    let other = entry(200, &[("date", "@0"), ("vary", "foo")], &[("foo", "2")], "other");
    let first = entry(206, &[("date", "@0"), ("content-range", "bytes 0-4/10")], &[], "01234");
    let last = entry(206, &[("date", "@0"), ("content-range", "bytes 5-9/10")], &[], "56789");
    for (entries, asked, want) in [
        (&[&old, &new, &other][..], &[("foo", "1")][..], Some(1)),
        (&[&old, &new, &other], &[("foo", "2")], Some(2)),
        (&[&old, &new, &other], &[("foo", "3")], None),
        (&[&first, &old], &[("foo", "1"), ("range", "bytes=0-1")], Some(1)),
        (&[&first, &last], &[("range", "bytes=6-7")], Some(1)),
        (&[&first, &last], &[("range", "bytes=0-1")], Some(0)),
        (&[], &[], None),
    ] {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).clone()).collect();
        let headers = fields(asked);
        let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
        assert_eq!(select(&entries, asked), want, "{headers:?}");
    }
}
