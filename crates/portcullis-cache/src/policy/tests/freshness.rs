use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn is_reused_as_the_suite_wants() {
    for (name, given, want) in [
        ("freshness-none", &[][..], false),
        ("freshness-max-age", &[("cache-control", "max-age=3600")], true),
        ("freshness-max-age-stale", &[("cache-control", "max-age=2"), ("date", "@0")], false),
        ("freshness-max-age-0", &[("cache-control", "max-age=0")], false),
        (
            "freshness-max-age-age",
            &[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "7200")],
            false,
        ),
        (
            "freshness-max-age-expires-invalid",
            &[("cache-control", "max-age=3600"), ("expires", "0"), ("date", "@0")],
            true,
        ),
        ("freshness-s-maxage-shared", &[("cache-control", "s-maxage=3600")], true),
        (
            "freshness-max-age-s-maxage-shared-longer",
            &[("cache-control", "max-age=3600, s-maxage=1")],
            false,
        ),
        (
            "freshness-max-age-s-maxage-shared-longer-multiple",
            &[("cache-control", "max-age=3600"), ("cache-control", "s-maxage=1")],
            false,
        ),
        (
            "freshness-max-age-s-maxage-shared-shorter-expires",
            &[("expires", "@-10"), ("cache-control", "max-age=0, s-maxage=3600")],
            true,
        ),
        (
            "age-parse-float",
            &[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "7200.0")],
            true,
        ),
        (
            "age-parse-large",
            &[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "2147483648")],
            false,
        ),
        ("age-parse-suffix", &[("cache-control", "max-age=3600"), ("age", "7200, 0")], false),
        ("age-parse-prefix", &[("cache-control", "max-age=3600"), ("age", "0, 7200")], true),
        (
            "age-parse-suffix-twoline",
            &[("cache-control", "max-age=3600"), ("age", "7200"), ("age", "0")],
            false,
        ),
        (
            "age-parse-prefix-twoline",
            &[("cache-control", "max-age=3600"), ("age", "0"), ("age", "7200")],
            true,
        ),
        ("age negative", &[("cache-control", "max-age=3600"), ("age", "-7200")], true),
        ("freshness-expires-future", &[("expires", "@2592000"), ("date", "@0")], true),
        ("freshness-expires-invalid", &[("expires", "0"), ("date", "@0")], false),
        ("freshness-expires-invalid-date", &[("date", "foo"), ("expires", "@10")], true),
        (
            "freshness-expires-age-slow-date",
            &[("date", "@-10"), ("expires", "@10"), ("age", "25")],
            false,
        ),
        (
            "freshness-expires-age-fast-date",
            &[("date", "@10"), ("expires", "@20"), ("age", "15")],
            false,
        ),
        ("date that is old", &[("date", "@-20"), ("expires", "@2")], false),
        (
            "date that is old, and max-age",
            &[("date", "@-20"), ("cache-control", "max-age=22")],
            false,
        ),
        ("two that differ", &[("date", "@0"), ("expires", "@20"), ("expires", "@30")], false),
        ("two that are alike", &[("date", "@0"), ("expires", "@20"), ("expires", "@20")], true),
        (
            "freshness-expires-32bit",
            &[("expires", "Tue, 19 Jan 2038 14:14:08 GMT"), ("date", "@0")],
            true,
        ),
        (
            "freshness-expires-far-future",
            &[("expires", "Sun, 21 Nov 2286 04:46:39 GMT"), ("date", "@0")],
            true,
        ),
        (
            "freshness-expires-rfc850",
            &[("expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("date", "@0")],
            true,
        ),
        ("freshness-expires-invalid-aest", &[("expires", "Thu, 18 Aug 2050 02:01:18 AEST")], false),
        (
            "cdn-max-age-expires",
            &[("cdn-cache-control", "max-age=3600"), ("expires", "@-10000"), ("date", "@0")],
            true,
        ),
        ("cdn-max-age-0", &[("cdn-cache-control", "max-age=0")], false),
        (
            "cdn-max-age-short-cc-max-age",
            &[("cache-control", "max-age=1"), ("cdn-cache-control", "max-age=3600")],
            true,
        ),
        (
            "cdn-no-cache",
            &[("cdn-cache-control", "no-cache"), ("cache-control", "max-age=10000")],
            false,
        ),
        ("heuristic-delta-5", &[("last-modified", "@-5"), ("date", "@0")], false),
        ("heuristic-delta-60", &[("last-modified", "@-60"), ("date", "@0")], true),
        ("heuristic, the future", &[("last-modified", "@600"), ("date", "@0")], false),
        (
            "pragma-response-no-cache",
            &[("cache-control", "max-age=3600"), ("pragma", "no-cache")],
            true,
        ),
        (
            "cc-resp-no-cache",
            &[("cache-control", "max-age=10000, no-cache"), ("etag", "\"a\"")],
            false,
        ),
        (
            "cc-resp-must-revalidate-fresh",
            &[("cache-control", "max-age=10000, must-revalidate")],
            true,
        ),
    ] {
        assert_eq!(is_reused(given), want, "{name}");
    }
}

#[test]
fn a_slow_answer_was_older_when_it_arrived() {
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    let times = Times { requested: at(0), received: at(4) };
    let head = head(200, &[("cache-control", "max-age=10"), ("age", "5"), ("date", "@0")]);
    let stored = Stored::new(&Rules::default(), Scope::Public, None, asked, &head, times).unwrap();
    // 5 s elsewhere, 4 s on the way.
    for (seconds, age, ttl) in [(4, 9, 1), (5, 10, 0), (6, 11, -1), (0, 9, 1)] {
        assert_eq!((stored.age(at(seconds)), stored.ttl(at(seconds))), (age, ttl), "{seconds}");
    }
    assert_eq!(judge(APP, &stored, &[], 4), Judgement::Fresh);
    assert_eq!(judge(APP, &stored, &[], 5), STALE);
}

#[test]
fn the_rule_of_thumb_ends_after_a_day_and_needs_the_preset() {
    let old = &[("last-modified", "@-100000000"), ("date", "@0")];
    let stored = store(RFC, &[], 200, old).unwrap();
    assert_eq!(stored.ttl(at(0)), 86_400);
    assert_eq!(store(APP, &[], 200, old).unwrap_err(), NotStored::Unknown);
}

const LATE: Judgement = Judgement::Stale { serve: Serve::No, if_error: true };
const BEHIND: Judgement = Judgement::Stale { serve: Serve::WhileRevalidating, if_error: false };
const ASKED: Judgement = Judgement::Stale { serve: Serve::AsAsked, if_error: false };

#[test]
fn stale_is_served_where_it_may_be() {
    for (said, wish, seconds, want) in [
        ("max-age=10", "", 9, Judgement::Fresh),
        ("max-age=10", "", 10, STALE),
        ("max-age=10, stale-while-revalidate=5", "", 10, BEHIND),
        ("max-age=10, stale-while-revalidate=5", "", 14, BEHIND),
        ("max-age=10, stale-while-revalidate=5", "", 15, STALE),
        ("max-age=10, stale-while-revalidate=x", "", 11, STALE),
        ("max-age=10, stale-while-revalidate=5", "no-cache", 11, STALE),
        ("max-age=10, stale-while-revalidate=5", "max-age=3", 11, STALE),
        ("max-age=10, stale-while-revalidate=5", "min-fresh=1", 11, STALE),
        ("max-age=10, stale-if-error=5", "", 14, LATE),
        ("max-age=10, stale-if-error=5", "", 15, STALE),
        ("max-age=10", "stale-if-error=5", 14, LATE),
        ("max-age=10", "stale-if-error=5", 15, STALE),
        // Section 4.2.4.
        ("max-age=10, stale-while-revalidate=5, stale-if-error=5, must-revalidate", "", 11, STALE),
        (
            "max-age=10, stale-while-revalidate=5, stale-if-error=5, proxy-revalidate",
            "max-stale",
            11,
            STALE,
        ),
        ("max-age=10, stale-while-revalidate=5, stale-if-error=5, no-cache", "max-stale", 1, STALE),
        ("s-maxage=10, stale-while-revalidate=5, stale-if-error=5", "", 11, STALE),
        ("s-maxage=10", "max-stale, stale-if-error=5", 11, STALE),
        // What clients wish.
        ("max-age=10", "max-stale", 1000, ASKED),
        ("max-age=10", "max-stale=5", 15, ASKED),
        ("max-age=10", "max-stale=5", 16, STALE),
        ("max-age=10", "max-stale=x", 11, STALE),
        ("max-age=10", "max-stale, no-cache", 11, STALE),
        ("max-age=10", "max-age=5", 5, Judgement::Fresh),
        ("max-age=10", "max-age=5", 6, STALE),
        ("max-age=10", "max-age=0", 1, STALE),
        ("max-age=10", "max-age=5, max-stale", 6, STALE),
        ("max-age=10", "min-fresh=5", 5, Judgement::Fresh),
        ("max-age=10", "min-fresh=5", 6, STALE),
        ("max-age=10", "no-cache", 1, STALE),
        ("max-age=10", "only-if-cached", 1, Judgement::Fresh),
        ("max-age=10, stale-if-error=5", "no-cache", 1, LATE),
        // RFC 8246.
        ("max-age=10, immutable", "max-age=0", 5, Judgement::Fresh),
        ("max-age=10, immutable", "no-cache", 5, STALE),
        ("max-age=10, immutable", "max-age=0", 10, STALE),
    ] {
        let stored = store(RFC, &[], 200, &[("cache-control", said), ("etag", "\"a\"")]).unwrap();
        assert_eq!(
            judge(RFC, &stored, &[("cache-control", wish)], seconds),
            want,
            "{said} / {wish} / {seconds}"
        );
    }
}

#[test]
fn for_applications_s_maxage_does_not_take_back_what_is_said_beside_it() {
    for (said, want) in [
        ("s-maxage=10, stale-while-revalidate=5", BEHIND),
        ("s-maxage=10, stale-while-revalidate=5, must-revalidate", STALE),
        ("s-maxage=10", STALE),
    ] {
        let stored = store(APP, &[], 200, &[("cache-control", said), ("etag", "\"a\"")]).unwrap();
        assert_eq!(judge(APP, &stored, &[], 11), want, "{said}");
    }
}

#[test]
fn a_soft_purge_makes_it_stale() {
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    for (said, want) in [
        ("max-age=10", STALE),
        ("max-age=10, stale-while-revalidate=5", BEHIND),
        ("max-age=10, stale-if-error=5", LATE),
        ("max-age=10, stale-while-revalidate=5, must-revalidate", STALE),
    ] {
        let stored = store(APP, &[], 200, &[("cache-control", said)]).unwrap();
        assert_eq!(stored.judge(&Rules::default(), asked, at(1), true), want, "{said}");
    }
}
