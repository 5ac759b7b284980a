use super::super::control::{Directives, FOREVER, Flags, Wishes, only_if_cached};
use super::*;

fn said(lines: &[&str]) -> Directives {
    let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    Directives::of(&Rules::default(), &fields(&lines))
}

#[test]
fn reads_how_long() {
    for (lines, want) in [
        (&["max-age=3600"][..], Some(3600)),
        (&["Max-AGE=3600"], Some(3600)),
        (&["foobar, max-age=3600"], Some(3600)),
        (&[" ,, max-age=3600 ,"], Some(3600)),
        (&["max-age=\"3600\""], Some(3600)),
        (&["max-age=\"36\\00\""], Some(3600)),
        (&["max-age=003600"], Some(3600)),
        (&["max-age=2147483647"], Some(FOREVER - 1)),
        (&["max-age=2147483648"], Some(FOREVER)),
        (&["max-age=2147483649"], Some(FOREVER)),
        (&["max-age=99999999999999999999999"], Some(FOREVER)),
        (&["max-age=1800, max-age=1"], Some(1800)),
        (&["max-age=1800", "max-age=1"], Some(1800)),
        (&["max-age=1, max-age=1800"], Some(1)),
        (&["max-age=1, extension=\"max-age=3600\""], Some(1)),
        (&["extension=\"max-age=3600, \\\", max-age=3600\", max-age=1"], Some(1)),
        (&["extension=\"max-age=3600\""], None),
        (&["max-age=\"3600"], Some(0)),
        (&["extension=\"never closed, max-age=3600"], Some(0)),
        (&["max-age =3600"], Some(0)),
        (&["max-age= 3600"], Some(0)),
        (&["max-age='3600'"], Some(0)),
        (&["max-age=3600.0"], Some(0)),
        (&["max-age=3600a"], Some(0)),
        (&["max-age=-3600"], Some(0)),
        (&["max-age=+3600"], Some(0)),
        (&["max-age="], Some(0)),
        (&["max-age"], Some(0)),
        (&["xmax-age=3600"], None),
    ] {
        assert_eq!(said(lines).max_age, want, "{lines:?}");
    }
}

#[test]
fn reads_what_is_forbidden_however_it_is_written() {
    for (line, want) in [
        ("no-store", Flags::NO_STORE),
        ("No-StOrE", Flags::NO_STORE),
        ("no-store=1", Flags::NO_STORE),
        ("no-store =x", Flags::NO_STORE),
        ("x=\"never closed, no-store", Flags::NO_STORE),
        ("x=\"no-store\"", Flags::default()),
        ("no-cache", Flags::NO_CACHE),
        ("no-cache=\"\"", Flags::NO_CACHE),
        ("no-cache=\"a, not a name\"", Flags::NO_CACHE),
        ("no-cache=\"a, b\"", Flags::default()),
        ("no-cache=a", Flags::default()),
        ("private", Flags::PRIVATE),
        ("private=\"set-cookie\"", Flags::default()),
        ("public", Flags::PUBLIC),
        ("must-revalidate", Flags::MUST_REVALIDATE),
        ("proxy-revalidate", Flags::PROXY_REVALIDATE),
        ("must-understand", Flags::MUST_UNDERSTAND),
        ("immutable", Flags::IMMUTABLE),
        ("s-maxage=0", Flags::SHARED),
    ] {
        assert_eq!(said(&[line]).flags, want, "{line}");
    }
}

#[test]
fn a_targeted_field_speaks_alone() {
    let rules = Rules::default().with_targeted(
        ["mine-cache-control", "cdn-cache-control"].map(|name| name.parse().unwrap()),
    );
    for (given, max_age, flags) in [
        (
            &[("cdn-cache-control", "max-age=10"), ("cache-control", "no-store")][..],
            Some(10),
            Flags::default(),
        ),
        (
            &[("cdn-cache-control", "max-age=10"), ("mine-cache-control", "max-age=20")],
            Some(20),
            Flags::default(),
        ),
        (
            &[("cdn-cache-control", "max-age=10"), ("mine-cache-control", "max-age=20, &")],
            Some(10),
            Flags::default(),
        ),
        (
            &[("cdn-cache-control", "max-age=10"), ("mine-cache-control", "")],
            Some(10),
            Flags::default(),
        ),
        (
            &[("cdn-cache-control", "max-age=1"), ("cdn-cache-control", "max-age=2")],
            Some(2),
            Flags::default(),
        ),
        (
            &[("cdn-cache-control", "max-age=\"10000\""), ("cache-control", "no-store")],
            None,
            Flags::NO_STORE,
        ),
        (
            &[("other-cache-control", "max-age=10"), ("cache-control", "no-store")],
            None,
            Flags::NO_STORE,
        ),
    ] {
        let said = Directives::of(&rules, &fields(given));
        assert_eq!((said.max_age, said.flags), (max_age, flags), "{given:?}");
    }
}

#[test]
fn reads_what_clients_wish() {
    let none = Wishes::default();
    for (line, want) in [
        ("", none),
        ("no-store", Wishes { no_store: true, ..none }),
        ("NO-CACHE", Wishes { no_cache: true, ..none }),
        ("only-if-cached", Wishes { only_if_cached: true, ..none }),
        ("max-age=5, min-fresh=\"6\"", Wishes { max_age: Some(5), min_fresh: Some(6), ..none }),
        ("max-stale", Wishes { max_stale: Some(u32::MAX), ..none }),
        ("max-stale=7", Wishes { max_stale: Some(7), ..none }),
        ("stale-if-error=8", Wishes { if_error: Some(8), ..none }),
        ("max-age=x, max-stale=x, min-fresh, foo, x=\"no-store\"", none),
    ] {
        assert_eq!(Wishes::of(&fields(&[("cache-control", line)])), want, "{line}");
    }
    assert!(only_if_cached(&fields(&[
        ("cache-control", "a"),
        ("cache-control", "b, only-if-cached")
    ])));
    assert_eq!(
        Wishes::of(&fields(&[("pragma", "no-cache")])),
        none,
        "`Pragma` is of the past (section 5.4)"
    );
}
