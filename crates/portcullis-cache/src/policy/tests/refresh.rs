use super::*;

fn refreshed(preset: Preset, first: Fields<'_>, second: Fields<'_>) -> Option<Stored> {
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    let stored = store(preset, &[], 200, first).unwrap();
    stored.refreshed(&Rules::new(preset), None, asked, &head(304, second), now(100))
}

#[test]
fn a_304_brings_new_fields_and_a_new_life() {
    let first = &[
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("x-test", "old"),
        ("x-two", "1"),
        ("x-kept", "1"),
        ("age", "1"),
        ("date", "@0"),
    ];
    let second = &[
        ("etag", "\"a\""),
        ("x-test", "new"),
        ("x-two", "2"),
        ("x-two", "3"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("date", "@100"),
    ];
    let new = refreshed(RFC, first, second).unwrap();
    let values = |name: &str| {
        new.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(values("x-test"), ["new"]);
    assert_eq!(values("x-two"), ["2", "3"]);
    assert_eq!(values("x-kept"), ["1"]);
    assert_eq!(values("cache-control"), ["max-age=2"]);
    assert!(values("age").is_empty() && values("x-hop").is_empty());
    assert_eq!(new.status(), 200);
    assert_eq!(judge(RFC, &new, &[], 101), Judgement::Fresh);
    assert_eq!(judge(RFC, &new, &[], 102), STALE);
}

#[test]
fn what_describes_the_stored_body_stays() {
    for name in ["content-length", "content-encoding", "content-range"] {
        let first = [("cache-control", "max-age=2"), ("etag", "\"a\""), (name, "36")];
        let new = refreshed(RFC, &first, &[("etag", "\"a\""), (name, "10")]).unwrap();
        assert_eq!(new.headers()[name], "36", "{name}");
    }
    for name in
        ["content-location", "content-md5", "content-type", "content-security-policy", "set-cookie"]
    {
        let first = [("cache-control", "max-age=2"), ("etag", "\"a\""), (name, "a")];
        let new = refreshed(RFC, &first, &[("etag", "\"a\""), (name, "b")]).unwrap();
        assert_eq!(new.headers()[name], "b", "{name}");
    }
}

#[test]
fn a_304_has_to_be_about_what_is_stored() {
    let dated = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");
    for (first, second, want) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
        (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], true),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], true),
        (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], false),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "\"a\"")], &[], true),
        (&[dated], &[("etag", "\"b\"")], false),
        (&[dated], &[dated], true),
        (&[dated], &[("last-modified", "Wed, 01 Jan 2020 00:00:01 GMT")], false),
        (
            &[("etag", "\"a\""), dated],
            &[("etag", "\"a\""), ("last-modified", "Wed, 01 Jan 2020 00:00:01 GMT")],
            true,
        ),
        (&[dated], &[], true),
        (&[("etag", "\"a\"")], &[("cache-control", "no-store")], false),
        (&[("etag", "\"a\"")], &[("cache-control", "private")], false),
        (&[("etag", "\"a\"")], &[("vary", "*")], false),
    ] {
        let first: Vec<_> = first.iter().copied().chain([("cache-control", "max-age=2")]).collect();
        assert_eq!(refreshed(RFC, &first, second).is_some(), want, "{first:?} {second:?}");
    }
}

#[test]
fn for_applications_a_304_brings_no_cookie_in() {
    let new = refreshed(
        APP,
        &[("cache-control", "max-age=2"), ("etag", "\"a\"")],
        &[("set-cookie", "a=b"), ("x", "y")],
    )
    .unwrap();
    assert!(!new.headers().contains_key("set-cookie") && new.headers().contains_key("x"));
}

#[test]
fn a_head_refreshes_what_has_not_changed() {
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::HEAD, headers: &headers, is_authenticated: false };
    for (first, second, want) in [
        (&[][..], &[("x-test", "2"), ("cache-control", "max-age=1000")][..], true),
        (&[("etag", "\"a\"")], &[("etag", "\"a\""), ("cache-control", "max-age=1000")], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\""), ("cache-control", "max-age=1000")], false),
        (&[], &[("etag", "\"b\""), ("cache-control", "max-age=1000")], false),
        (
            &[("content-length", "3")],
            &[("content-length", "3"), ("cache-control", "max-age=1000")],
            true,
        ),
        (
            &[("content-length", "3")],
            &[("content-length", "4"), ("cache-control", "max-age=1000")],
            false,
        ),
        (
            &[("last-modified", "@-9")],
            &[("last-modified", "@-8"), ("cache-control", "max-age=1000")],
            false,
        ),
    ] {
        let first: Vec<_> = first.iter().copied().chain([("cache-control", "max-age=2")]).collect();
        let stored = store(RFC, &[], 200, &first).unwrap();
        let new =
            stored.refreshed_by_head(&Rules::new(RFC), None, asked, &head(200, second), now(100));
        assert_eq!(new.map(|new| new.ttl(at(100))), want.then_some(1000), "{first:?} {second:?}");
        let gone =
            stored.refreshed_by_head(&Rules::new(RFC), None, asked, &head(410, second), now(100));
        assert!(gone.is_none(), "head-410-update");
    }
}
