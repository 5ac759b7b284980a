use super::super::Flags;
use super::*;

fn check(preset: Preset, status: u16, given: Fields<'_>) -> Option<NotStored> {
    store(preset, &[], status, given).err()
}

#[test]
fn the_status_alone_lets_some_be_stored() {
    for (status, want) in [
        (200, true),
        (201, false),
        (202, false),
        (203, true),
        (204, true),
        (206, true),
        (300, true),
        (301, true),
        (302, false),
        (303, false),
        (307, false),
        (308, true),
        (400, false),
        (403, false),
        (404, true),
        (405, true),
        (410, true),
        (414, true),
        (416, false),
        (500, false),
        (501, true),
        (502, false),
        (503, false),
        (504, false),
        (599, false),
    ] {
        let given =
            &[("last-modified", "@-86400"), ("date", "@0"), ("content-range", "bytes 0-3/4")];
        let reused = store(RFC, &[], status, given)
            .is_ok_and(|stored| judge(RFC, &stored, &[], 3) == Judgement::Fresh);
        assert_eq!(reused, want, "{status}");
    }
    let public = &[("last-modified", "@-86400"), ("date", "@0"), ("cache-control", "public")];
    let stored = store(RFC, &[], 599, public).unwrap();
    assert_eq!(judge(RFC, &stored, &[], 3), Judgement::Fresh, "heuristic-599-cached");
}

#[test]
fn whoever_says_how_long_is_stored_whatever_the_status() {
    for status in [
        200, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 451, 499, 500,
        501, 502, 503, 504, 599,
    ] {
        for preset in [RFC, APP] {
            assert_eq!(check(preset, status, &[("cache-control", "max-age=9")]), None, "{status}");
            assert_eq!(
                check(preset, status, &[("expires", "@-5000"), ("date", "@0")]),
                Some(NotStored::Stale),
                "{status}"
            );
        }
    }
    // They tell of the request's conditions and ranges, or must not be stored.
    for status in [100, 103, 304, 412, 416, 417, 428, 429, 431, 511] {
        assert_eq!(
            check(RFC, status, &[("cache-control", "max-age=9")]),
            Some(NotStored::Status),
            "{status}"
        );
    }
}

#[test]
fn directives_forbid_it() {
    for (said, status, want) in [
        ("max-age=10000, no-store", 200, Some(NotStored::NoStore)),
        ("No-Store", 200, Some(NotStored::NoStore)),
        ("private, max-age=3600", 200, Some(NotStored::Private)),
        ("max-age=3600, no-store, must-understand", 599, Some(NotStored::Status)),
        ("max-age=3600, must-understand", 599, Some(NotStored::Status)),
        ("max-age=3600, no-store, must-understand", 200, None),
        ("max-age=3600", 599, None),
        ("no-cache", 200, Some(NotStored::Unknown)),
        ("max-age=9, no-cache", 200, Some(NotStored::Stale)),
        ("max-age=0", 200, Some(NotStored::Stale)),
        ("max-age=0, stale-while-revalidate=9", 200, None),
        ("max-age=0, stale-while-revalidate=9, must-revalidate", 200, Some(NotStored::Stale)),
        ("public", 200, Some(NotStored::Unknown)),
    ] {
        for preset in [RFC, APP] {
            assert_eq!(check(preset, status, &[("cache-control", said)]), want, "{said}");
        }
    }
    for (given, want) in [
        (
            &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=9")][..],
            Some(NotStored::NoStore),
        ),
        (
            &[("cdn-cache-control", "private"), ("cache-control", "max-age=9")],
            Some(NotStored::Private),
        ),
        (
            &[("cdn-cache-control", "max-age=\"9\""), ("cache-control", "no-store")],
            Some(NotStored::NoStore),
        ),
        (&[("cdn-cache-control", "max-age=9"), ("cache-control", "no-store")], None),
        (
            &[("other-cache-control", "max-age=9"), ("cache-control", "no-store")],
            Some(NotStored::NoStore),
        ),
    ] {
        assert_eq!(check(RFC, 200, given), want, "{given:?}");
    }
    let wish = &[("cache-control", "no-store")];
    assert_eq!(
        store(RFC, wish, 200, &[("cache-control", "max-age=9")]).unwrap_err(),
        NotStored::NoStore
    );
}

#[test]
fn what_can_be_validated_is_stored() {
    for (given, rfc, app) in [
        (&[("etag", "\"a\"")][..], None, Some(NotStored::Unknown)),
        (&[("etag", "\"a\""), ("cache-control", "no-cache")], None, None),
        (&[("etag", "\"a\""), ("cache-control", "max-age=0")], None, None),
        (&[("last-modified", "@-5"), ("expires", "0")], None, None),
        (&[("age", "20"), ("cache-control", "max-age=9")], None, Some(NotStored::Stale)),
    ] {
        assert_eq!((check(RFC, 200, given), check(APP, 200, given)), (rfc, app), "{given:?}");
    }
    assert_eq!(check(RFC, 403, &[("etag", "\"a\"")]), Some(NotStored::Unknown));
}

#[test]
fn a_default_holds_where_nothing_is_said() {
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    let ttl = std::time::Duration::from_secs(60);
    for (status, given, want) in [
        (200, &[][..], Some(60)),
        (404, &[], Some(60)),
        (201, &[], None),
        (500, &[], None),
        (200, &[("cache-control", "max-age=9")], Some(9)),
        (200, &[("cache-control", "no-store")], None),
        (200, &[("cache-control", "no-cache")], None),
        (200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], Some(0)),
    ] {
        for scope in [Scope::Public, Scope::Identity] {
            let stored = Stored::new(
                &Rules::default(),
                scope,
                Some(ttl),
                asked,
                &head(status, given),
                now(0),
            );
            let want = want.filter(|want| *want > 0 || scope == Scope::Public);
            assert_eq!(
                stored.ok().map(|stored| stored.ttl(at(0))),
                want,
                "{status} {given:?} {scope:?}"
            );
        }
    }
}

#[test]
fn fields_that_must_not_be_are_not_stored() {
    let given = &[
        ("cache-control", "max-age=9, no-cache=\"X-Often, x-too\", private=x-mine"),
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("x-often", "1"),
        ("x-too", "1"),
        ("x-mine", "1"),
        ("x-kept", "1"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
        ("te", "1"),
        ("transfer-encoding", "x"),
        ("upgrade", "x"),
        ("proxy-authenticate", "x"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "x"),
        ("set-cookie2", "a=b"),
        ("content-md5", "x"),
        ("clear-site-data", "\"cache\""),
        ("public-key-pins", "x"),
    ];
    let stored = store(RFC, &[], 200, given).unwrap();
    let mut names: Vec<_> = stored.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "clear-site-data",
            "content-md5",
            "date",
            "public-key-pins",
            "set-cookie2",
            "x-kept"
        ]
    );
    assert_eq!(
        stored.headers()["date"],
        super::super::sample::START_DATE,
        "RFC 9110, section 6.6.1"
    );
}

#[test]
fn parts_say_of_what_they_are() {
    for (given, want) in [
        (&[("content-range", "bytes 4-9/10")][..], None),
        (&[("content-range", "bytes 4-9/*")], None),
        (&[], Some(NotStored::Part)),
        (&[("content-range", "lines 4-9/10")], Some(NotStored::Part)),
        (
            &[
                ("content-range", "bytes 4-9/10"),
                ("content-type", "Multipart/Byteranges; boundary=x"),
            ],
            Some(NotStored::Part),
        ),
    ] {
        let given: Vec<_> = given.iter().copied().chain([("cache-control", "max-age=9")]).collect();
        assert_eq!(check(RFC, 206, &given), want, "{given:?}");
    }
}

#[test]
fn methods() {
    let headers = HeaderMap::new();
    let head = head(200, &[("cache-control", "max-age=9"), ("content-location", "/a?b")]);
    for (method, want) in [
        ("GET", true),
        ("QUERY", true),
        ("HEAD", false),
        ("POST", false),
        ("PUT", false),
        ("get", false),
    ] {
        let method = method.parse().unwrap();
        let asked = Asked { method: &method, headers: &headers, is_authenticated: false };
        let stored = Stored::new(&Rules::new(RFC), Scope::Public, None, asked, &head, now(0));
        assert_eq!(stored.is_ok(), want, "{method}");
    }
}

#[test]
fn a_post_is_stored_where_it_says_that_it_is_what_a_get_would_be() {
    let headers = HeaderMap::new();
    for (method, status, location, said, want) in [
        ("POST", 200, "/a?b", "max-age=9", true),
        ("POST", 200, "http://Shop.example:80/a?b", "max-age=9", true),
        ("POST", 200, "", "max-age=9", true),
        ("POST", 200, "/a", "max-age=9", false),
        ("POST", 200, "http://evil.example/a?b", "max-age=9", false),
        ("POST", 200, "/a?b", "public", false),
        ("POST", 200, "/a?b", "no-store, max-age=9", false),
        ("POST", 201, "/a?b", "max-age=9", false),
        ("PUT", 200, "/a?b", "max-age=9", false),
    ] {
        let method = method.parse().unwrap();
        let asked = Asked { method: &method, headers: &headers, is_authenticated: false };
        let head = head(
            status,
            &[("cache-control", said), ("content-location", location), ("last-modified", "@-9000")],
        );
        let stored = Stored::of_post(
            &Rules::new(RFC),
            Scope::Public,
            asked,
            "http://shop.example/a?b",
            &head,
            now(0),
        );
        assert_eq!(stored.is_ok(), want, "{method} {status} {location} {said}");
    }
    let asked = Asked { method: &Method::POST, headers: &headers, is_authenticated: false };
    let head = head(200, &[("cache-control", "max-age=9")]);
    assert!(
        Stored::of_post(
            &Rules::new(RFC),
            Scope::Public,
            asked,
            "http://shop.example/a",
            &head,
            now(0)
        )
        .is_err()
    );
}

#[test]
fn knows_whether_the_origin_said_how_long() {
    for (given, want) in [
        (&[("cache-control", "max-age=9")][..], true),
        (&[("expires", "@9")], true),
        (&[("cache-control", "public"), ("last-modified", "@-9000")], false),
    ] {
        let stored = store(RFC, &[], 200, given).unwrap();
        assert_eq!(stored.facts.flags.has(Flags::EXPLICIT), want, "{given:?}");
    }
}
