//! Mistakes that a stack does not start with.
use portcullis_core::{EdgeLayer, Routes, Stack};
use portcullis_ratelimit::{Key, LimitExt, RateLimitLayer, per_hour};
use portcullis_testkit::StubAuthenticateLayer;

use crate::support::Endpoint;

type Before = RateLimitLayer<portcullis_core::stage::PreLimit>;
type Behind = RateLimitLayer;
/// What it shows, the layers before and behind authentication, the names of the route, and what is told.
type Row<'a> = (&'a str, Before, Behind, &'a [&'a str], &'a [&'a str]);

/// What is told about a stack with these layers, and a route that names these quotas.
fn told(before: Before, behind: Behind, names: &[&str]) -> Vec<String> {
    let routes = Routes::builder().get("/", Endpoint::default()).public();
    let routes = names.iter().fold(routes, |routes, name| routes.limit(name)).build().unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(before)
        .layer(StubAuthenticateLayer::new())
        .layer(behind);
    let errors = stack.around(routes).err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

/// What is told about a quota that counts by identity where nobody is known yet.
fn mistaken(place: &str) -> String {
    format!(
        "{place}: it asks who is calling, but stands before authentication: move it to `RateLimitLayer::in_memory()`"
    )
}

#[test]
fn what_is_sound_starts_and_what_is_not_is_told() {
    let (before, behind) = (RateLimitLayer::before_authentication, RateLimitLayer::in_memory);
    let (address, identity) = (|| per_hour(1).by(Key::Address), || per_hour(1).by(Key::Identity));
    let (a, everywhere) = (mistaken("quota `a`"), mistaken("a quota that counts everywhere"));
    let twice = "quota `a`: the name stands twice in one layer";
    let none: &[&str] = &[];
    let rows: [Row<'_>; 13] = [
        ("no quota", before(), behind(), &[], none),
        (
            "each where it belongs",
            before().quota("a", address()),
            behind().quota("b", identity()),
            &["a", "b"],
            none,
        ),
        ("by address behind authentication", before(), behind().everywhere(address()), &[], none),
        (
            "one name in two layers",
            before().quota("a", address()),
            behind().quota("a", identity()),
            &["a"],
            none,
        ),
        ("a quota that nobody names", before().quota("a", address()), behind(), &[], none),
        (
            "a name twice",
            before().quota("a", address()).quota("a", address()),
            behind(),
            &["a"],
            &[twice],
        ),
        (
            "three times",
            before(),
            behind().quota("a", identity()).quota("a", address()).quota("a", address()),
            &[],
            &[twice],
        ),
        (
            "everywhere twice",
            before().everywhere(address()).everywhere(address()),
            behind(),
            &[],
            none,
        ),
        (
            "what nobody gets through, and guesses where they are not seen",
            before()
                .quota("a", address().cost(2))
                .quota("b", address().plan("p", per_hour(9)).settled(2)),
            behind().quota("c", identity().refusals()),
            &[],
            &[
                "quota `a`: a request costs more than it ever has room for",
                "quota `b`: it asks who is calling",
                "quota `b`: a request costs more",
                "quota `c`: it counts refusals, but stands behind authentication",
            ],
        ),
        (
            "by identity before authentication",
            before().quota("a", identity()).everywhere(identity()),
            behind(),
            &["a"],
            &[&a, &everywhere],
        ),
        (
            "a name that nobody defines",
            before().quota("a", address()),
            behind().quota("b", identity()),
            &["c"],
            &["route `GET /`: no limit is called `c` (defined: `a`, `b`)"],
        ),
        (
            "a name, and there is none",
            before(),
            behind(),
            &["c"],
            &["route `GET /`: no limit is called `c` (defined: there is none)"],
        ),
        (
            "all at once",
            before().quota("a", identity()).quota("a", address()),
            behind(),
            &["a", "b", "c"],
            &[twice, &a, "`b`", "`c`"],
        ),
    ];
    for (what, before, behind, names, want) in rows {
        let told = told(before, behind, names);
        assert_eq!(told.len(), want.len(), "{what}: {told:#?}");
        for (line, want) in told.iter().zip(want) {
            assert!(line.contains(want), "{what}: {told:#?}");
        }
    }
}

#[test]
fn a_name_without_any_layer_of_limits_is_told() {
    let routes = Routes::builder().get("/", Endpoint::default()).public().limit("a");
    let routes = routes.build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer());
    let Err(errors) = stack.around(routes) else { panic!("it started") };
    assert_eq!(
        errors.to_string(),
        "route `GET /`: no layer of the stack reads its `limit` option: add a `RateLimitLayer`, or drop the option"
    );
}
