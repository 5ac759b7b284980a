use super::*;
use crate::policy::{invalidated_groups, invalidates, is_safe};

const URL: &str = "https://shop.example/books/1?page=2";

fn check(method: &str, status: u16, given: Fields<'_>) -> Vec<String> {
    let (method, headers) = (method.parse().unwrap(), HeaderMap::new());
    let asked = Asked { method: &method, headers: &headers, is_authenticated: false };
    invalidates(asked, URL, &head(status, given)).to_vec()
}

#[test]
fn what_changes_something_makes_the_url_invalid_unless_it_fails() {
    for (method, status, want) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 200, true),
        ("PATCH", 200, true),
        ("M-SEARCH", 200, true),
        ("POST", 303, true),
        ("PUT", 500, false),
        ("DELETE", 404, false),
        ("M-SEARCH", 500, false),
        ("PUT", 100, false),
        ("GET", 200, false),
        ("HEAD", 200, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
        ("QUERY", 200, false),
    ] {
        assert_eq!(
            check(method, status, &[]),
            if want { vec![URL.to_owned()] } else { vec![] },
            "{method} {status}"
        );
    }
    assert!(is_safe(&"QUERY".parse().unwrap()) && !is_safe(&"query".parse().unwrap()));
}

#[test]
fn so_do_locations_of_the_same_origin() {
    for (location, want) in [
        ("/a", Some("https://shop.example/a")),
        ("2", Some("https://shop.example/books/2")),
        ("./2", Some("https://shop.example/books/2")),
        ("../a?b=c#d", Some("https://shop.example/a?b=c")),
        ("?page=3", Some("https://shop.example/books/1?page=3")),
        ("/%7Ea", Some("https://shop.example/~a")),
        ("https://shop.example/a", Some("https://shop.example/a")),
        ("HTTPS://Shop.Example:443/a", Some("https://shop.example/a")),
        ("//shop.example/a", Some("https://shop.example/a")),
        ("https://shop.example", Some("https://shop.example/")),
        ("https://shop.example?a", Some("https://shop.example/?a")),
        ("", None),
        ("#top", None),
        (URL, None),
        ("http://shop.example/a", None),
        ("https://shop.example:8443/a", None),
        ("https://evil.example/a", None),
        ("https://shop.example@evil.example/a", None),
        ("//evil.example/a", None),
        ("https:a", None),
        ("mailto:a@shop.example", None),
    ] {
        for name in ["location", "content-location"] {
            let want: Vec<_> = [URL].into_iter().chain(want).map(str::to_owned).collect();
            assert_eq!(check("POST", 201, &[(name, location)]), want, "{name}: {location}");
        }
    }
    assert_eq!(check("POST", 201, &[("location", "/a"), ("content-location", "/b")]).len(), 3);
    assert_eq!(check("POST", 201, &[("location", "/a"), ("content-location", "/a")]).len(), 2);
    assert_eq!(check("POST", 400, &[("location", "/a")]).len(), 0);
    assert_eq!(check("GET", 301, &[("location", "/a")]).len(), 0);
}

#[test]
fn groups() {
    for (lines, want) in [
        (&["\"a\", \"b c\""][..], &["a", "b c"][..]),
        (&["\"a\";x=1", "\"b\""], &["a", "b"]),
        (&["a"], &[]),
        (&["\"a\", 1"], &[]),
        (&["\"a"], &[]),
        (&[], &[]),
    ] {
        let given: Vec<_> = lines.iter().map(|line| ("cache-group-invalidation", *line)).collect();
        assert_eq!(invalidated_groups(&head(200, &given)), want, "{lines:?}");
    }
}

#[test]
fn tags() {
    let given = &[
        ("cache-control", "max-age=9"),
        ("surrogate-key", "a b  a"),
        ("surrogate-key", "c"),
        ("cache-tag", "d e, a,,f"),
        ("cache-groups", "\"a\", \"g\""),
    ];
    let stored = store(RFC, &[], 200, given).unwrap();
    let tags: Vec<_> = stored.tags().iter().map(|tag| &**tag).collect();
    assert_eq!(tags, ["\0a", "\0g", "a", "b", "c", "d e", "f"]);
}
