//! What answers say about quotas is well formed, and true.
use std::time::Duration;

use http::{HeaderMap, Response};
use portcullis_core::Body;
use portcullis_core::stage::PreLimit;
use portcullis_ratelimit::{
    Fields, Quota, RateLimitLayer, at_once, per, per_hour, per_minute, per_second, unlimited,
};
use portcullis_testkit::FakeTime;
use proptest::prelude::*;
use tower::Layer;

use crate::structured::{Bare, Item, list};
use crate::support::{Endpoint, answer, asking};

fn everywhere(quota: Quota) -> RateLimitLayer<PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

/// The items of a field, over all its lines.
fn items(headers: &HeaderMap, name: &str) -> Vec<Item> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
    let text = lines.collect::<Vec<_>>().join(", ");
    list(&text).unwrap_or_else(|| panic!("{name}: {text}"))
}

fn number(response: &Response<Body>, name: &str) -> Option<u64> {
    Some(response.headers().get(name)?.to_str().unwrap().parse().unwrap())
}

/// A quota of one rate, whose unit takes a microsecond at least.
fn quotas() -> impl Strategy<Value = Quota> {
    (1_u64..5_000, 1_u64..100_000, 1_u64..40).prop_map(|(units, millis, burst)| {
        let least = Duration::from_micros(units);
        per(Duration::from_millis(millis).max(least), units).burst(burst)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_one_bound_so_many_more_get_through_and_not_one_more(
        quota in quotas(),
        waits in proptest::collection::vec(0_u64..3_000_000_000, 1..12),
    ) {
        let time = FakeTime::new();
        let mut service = everywhere(quota).layer(Endpoint::default());
        for wait in waits {
            time.advance(Duration::from_nanos(wait));
            let first = answer(&mut service, asking("192.0.2.1", &time));
            let mut said = items(first.headers(), "ratelimit")[0].number("r").unwrap();
            let mut last = first;
            if last.status() == 200 {
                while said > 0 {
                    last = answer(&mut service, asking("192.0.2.1", &time));
                    prop_assert_eq!(last.status(), 200);
                    let now = items(last.headers(), "ratelimit")[0].number("r").unwrap();
                    prop_assert_eq!(now, said - 1);
                    said = now;
                }
                // What is told now is when the next one gets through.
                let next = items(last.headers(), "ratelimit")[0].number("t").unwrap();
                let refused = answer(&mut service, asking("192.0.2.1", &time));
                prop_assert_eq!(refused.status(), 429);
                prop_assert_eq!(number(&refused, "retry-after"), Some(next));
                last = refused;
            }
            prop_assert_eq!(items(last.headers(), "ratelimit")[0].number("r"), Some(0));
            let wait = number(&last, "retry-after").unwrap();
            prop_assert_eq!(items(last.headers(), "ratelimit")[0].number("t"), Some(wait));
            time.advance(Duration::from_secs(wait));
            prop_assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
        }
    }

    #[test]
    fn of_several_bounds_who_waits_as_told_gets_through(
        bounds in proptest::collection::vec(quotas(), 1..5),
        others in proptest::collection::vec(quotas(), 0..3),
        waits in proptest::collection::vec(0_u64..1_000_000_000, 1..40),
    ) {
        let time = FakeTime::new();
        let quota = bounds.into_iter().reduce(Quota::and).unwrap();
        let layer = others.into_iter().fold(everywhere(quota), RateLimitLayer::everywhere);
        let mut service = layer.layer(Endpoint::default());
        for wait in waits {
            time.advance(Duration::from_nanos(wait));
            let said = answer(&mut service, asking("192.0.2.1", &time));
            // Each field is well formed, and speaks of a policy that is there.
            let policies = items(said.headers(), "ratelimit-policy");
            for item in items(said.headers(), "ratelimit") {
                let policy = policies.iter().find(|policy| policy.name() == item.name()).unwrap();
                prop_assert!(item.number("r").unwrap() <= policy.number("q").unwrap());
            }
            if said.status() == 429 {
                time.advance(Duration::from_secs(number(&said, "retry-after").unwrap()));
                prop_assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
            }
        }
    }

    #[test]
    fn whatever_a_name_is_it_can_be_read_again(name in "[ -~]{1,64}", burst in any::<u64>()) {
        let routes = portcullis_core::Routes::builder().get("/", Endpoint::default()).public();
        let routes = portcullis_ratelimit::LimitExt::limit(routes, &name).build().unwrap();
        let quota = per_hour(5).burst(burst).and(at_once(3)).and(per_second(1_000_000_007));
        let limits = RateLimitLayer::before_authentication().quota(&name, quota);
        let stack = portcullis_core::Stack::new()
            .layer(portcullis_core::EdgeLayer::default())
            .layer(routes.layer())
            .layer(limits);
        let client = portcullis_testkit::TestClient::new(stack.around(routes).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let said = runtime.block_on(client.get("/").send());
        let policies = items(said.headers(), "ratelimit-policy");
        let names: Vec<&str> = policies.iter().map(Item::name).collect();
        prop_assert_eq!(names, [name.clone(), format!("{name}.2"), format!("{name}.3")]);
        prop_assert_eq!(policies[0].number("q"), Some(burst.clamp(1, 999_999_999_999_999)));
        prop_assert_eq!(items(said.headers(), "ratelimit").len(), 1);
    }
}

#[test]
fn what_is_owed_for_too_long_is_let_go_as_told() {
    // A thousand seconds are owed after the first answer; two bursts of them stay.
    let time = FakeTime::new();
    let layer = everywhere(per_second(1).burst(5).settled(1));
    let mut service = layer.layer(tower::service_fn(async |mut request: http::Request<Body>| {
        portcullis_core::Context::of(&mut request).spend(1_000);
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    }));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    let refused = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!(number(&refused, "retry-after"), Some(6));
    time.advance(Duration::from_secs(6));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[test]
fn a_rate_that_has_changed_keeps_nobody_out_for_longer_than_it_says() {
    let time = FakeTime::new();
    let before = everywhere(per_hour(1));
    let mut service = before.layer(Endpoint::default());
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 429);
    // An hour is taken up; now it is ten a second.
    let after = everywhere(per_second(10)).continuing(&before);
    let mut service = after.layer(Endpoint::default());
    let refused = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!((refused.status().as_u16(), number(&refused, "retry-after")), (429, Some(2)));
    time.advance(Duration::from_secs(2));
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
}

#[test]
fn what_costs_more_than_there_ever_is_room_for_is_not_told_to_come_back() {
    for (what, quota) in [
        ("one bound", per_minute(10).cost(11)),
        ("the second of two", per_minute(100).and(per_minute(10)).cost(11)),
        ("and the first has no room", per_minute(20).and(per_hour(10)).cost(11)),
    ] {
        let time = FakeTime::new();
        let mut service = everywhere(quota).layer(Endpoint::default());
        for _ in 0..3 {
            let refused = answer(&mut service, asking("192.0.2.1", &time));
            assert_eq!(refused.status(), 429, "{what}");
            assert_eq!(number(&refused, "retry-after"), None, "{what}");
        }
    }
    // Also where another quota refuses it first, and only for a while.
    let time = FakeTime::new();
    let layer = everywhere(per_minute(1)).everywhere(per_minute(100).and(per_minute(10)).cost(1));
    let mut service = layer.layer(Endpoint::default());
    assert_eq!(answer(&mut service, asking("192.0.2.1", &time)).status(), 200);
    let refused = answer(&mut service, asking("192.0.2.1", &time));
    assert_eq!(number(&refused, "retry-after"), Some(60));
}

#[test]
fn each_option_says_what_it_says() {
    let names = [
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    for (fields, ok, refused) in [
        (
            Fields::Standard,
            [Some("\"everywhere\";r=1;t=30"), Some("\"everywhere\";q=2;w=60"), None, None, None],
            [Some("\"everywhere\";r=0;t=30"), Some("\"everywhere\";q=2;w=60"), None, None, None],
        ),
        (
            Fields::WithLegacy,
            [
                Some("\"everywhere\";r=1;t=30"),
                Some("\"everywhere\";q=2;w=60"),
                Some("2"),
                Some("1"),
                Some("30"),
            ],
            [
                Some("\"everywhere\";r=0;t=30"),
                Some("\"everywhere\";q=2;w=60"),
                Some("2"),
                Some("0"),
                Some("30"),
            ],
        ),
        (Fields::Off, [None; 5], [None; 5]),
    ] {
        let time = FakeTime::new();
        let mut service = everywhere(per_minute(2)).fields(fields).layer(Endpoint::default());
        let said = |response: &Response<Body>| {
            names.map(|name| Some(response.headers().get(name)?.to_str().unwrap().to_owned()))
        };
        let of = |wanted: [Option<&str>; 5]| wanted.map(|text| text.map(str::to_owned));
        let first = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(said(&first), of(ok), "{fields:?}");
        answer(&mut service, asking("192.0.2.1", &time));
        let last = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(said(&last), of(refused), "{fields:?}");
        assert_eq!(number(&last, "retry-after"), Some(30), "{fields:?}");
    }
}

#[test]
fn the_fields_of_several_layers_stand_together() {
    let time = FakeTime::new();
    let legacy = |quota| everywhere(quota).fields(Fields::WithLegacy);
    let outer = legacy(per_minute(10));
    let inner = legacy(per_hour(2).and(unlimited()));
    let mut service = outer.layer(inner.layer(Endpoint::default()));
    for (status, rest, least) in [(200, [1, 9], 1), (200, [0, 8], 0), (429, [0, 7], 0)] {
        let said = answer(&mut service, asking("192.0.2.1", &time));
        assert_eq!(said.status(), status);
        assert_eq!(said.headers().get_all("ratelimit").iter().count(), 2);
        let items = items(said.headers(), "ratelimit");
        let own = items.iter().map(|item| item.number("r").unwrap()).collect::<Vec<_>>();
        assert_eq!(own, rest);
        assert_eq!(number(&said, "x-ratelimit-remaining"), Some(least));
        assert_eq!(number(&said, "x-ratelimit-limit"), Some(2));
    }
}

#[test]
fn units_that_are_no_requests_are_called_by_their_name() {
    for (quota, unit) in [
        (per_minute(5), None),
        (per_minute(5).refusals(), None),
        (per_minute(5).cost(2), Some("units")),
        (per_minute(5).bytes(), Some("content-bytes")),
        (at_once(5), Some("concurrent-requests")),
    ] {
        let time = FakeTime::new();
        let mut service = everywhere(quota).layer(Endpoint::default());
        let said = answer(&mut service, asking("192.0.2.1", &time));
        let policy = items(said.headers(), "ratelimit-policy").remove(0);
        let want = unit.map(|unit| Bare::String(unit.to_owned()));
        assert_eq!(policy.parameter("qu"), want.as_ref());
    }
}
