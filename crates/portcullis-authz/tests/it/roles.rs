//! Roles: what they permit, what they inherit, and what is wrong with them.
use portcullis_authz::{AuthorizeLayer, Roles};
use portcullis_core::{Routes, require};
use portcullis_testkit::{StubAuthenticateLayer, TestClient, as_user};
use tower::ServiceBuilder;

use crate::support::Endpoint;

#[test]
fn what_a_pattern_permits() {
    for (pattern, permits, not) in [
        ("orders:read", &["orders:read"][..], &["orders", "orders:reader", "orders:", ""][..]),
        (
            "orders:*",
            &["orders:read", "orders:read:all", "orders:"],
            &["orders", "order:read", "orderss:read", ""],
        ),
        ("*", &["orders:read", "anything", "a:b:c"], &[]),
        ("ORDERS:read", &["ORDERS:read"], &["orders:read"]),
        ("orders:read:*", &["orders:read:own"], &["orders:read", "orders:write:own"]),
    ] {
        let roles = Roles::builder().role("clerk").permits(pattern).build().unwrap();
        for permission in permits {
            assert!(roles.grants("clerk", permission), "{pattern} {permission}");
            assert!(!roles.grants("stranger", permission), "{pattern} {permission}");
        }
        for permission in not {
            assert!(!roles.grants("clerk", permission), "{pattern} {permission}");
        }
    }
}

#[test]
fn a_role_that_is_inherited_on_two_ways_counts_once() {
    let roles = Roles::builder()
        .role("manager")
        .inherits("clerk")
        .inherits("auditor")
        .role("clerk")
        .inherits("reader")
        .permits("orders:write")
        .role("auditor")
        .inherits("reader")
        .permits("orders:audit")
        .role("reader")
        .permits("orders:read")
        .build()
        .unwrap();
    for (role, grants) in [
        ("manager", [true, true, true]),
        ("clerk", [true, true, false]),
        ("auditor", [true, false, true]),
        // Nothing flows down to a parent.
        ("reader", [true, false, false]),
    ] {
        let asked = ["orders:read", "orders:write", "orders:audit"];
        assert_eq!(asked.map(|permission| roles.grants(role, permission)), grants, "{role}");
    }
    let mut names: Vec<_> = roles.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["auditor", "clerk", "manager", "reader"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let errors = Roles::builder()
        .permits("too:early")
        .inherits("too-early")
        .role("a")
        .inherits("b")
        .role("b")
        .inherits("c")
        .role("c")
        .inherits("a")
        .role("itself")
        .inherits("itself")
        .role("outside")
        .inherits("a")
        .role("orphan")
        .inherits("nobody")
        .role("twin")
        .role("twin")
        .role("")
        .permits("x")
        .role("typist")
        .permits("ord*")
        .permits("a:*:b")
        .permits("**")
        .permits("")
        .build()
        .unwrap_err();
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    for (place, words, times) in [
        ("roles: ", "`permits` stands before the first `role`", 1),
        ("roles: ", "`inherits` stands before the first `role`", 1),
        ("role `a`: ", "inherits from itself", 1),
        ("role `b`: ", "inherits from itself", 1),
        ("role `c`: ", "inherits from itself", 1),
        ("role `itself`: ", "inherits from itself", 1),
        // It inherits from a circle, and is none of it.
        ("role `outside`: ", "", 0),
        ("role `orphan`: ", "`nobody`, which is not defined", 1),
        ("role `twin`: ", "stands twice", 1),
        ("role ``: ", "needs a name", 1),
        ("role `typist`: ", "is no permission", 4),
        ("role `typist`: ", "`ord*`", 1),
        ("role `typist`: ", "`a:*:b`", 1),
        ("role `typist`: ", "`**`", 1),
    ] {
        let found = told.iter().filter(|line| line.starts_with(place) && line.contains(words));
        assert_eq!(found.count(), times, "{place}{words}: {told:#?}");
    }
    assert_eq!(told.len(), 13, "{told:#?}");
}

#[test]
fn words_may_stand_in_any_order() {
    // A parent may come later, and a role may inherit before it permits.
    let roles = Roles::builder()
        .role("clerk")
        .permits("a")
        .inherits("reader")
        .permits("b")
        .inherits("guest")
        .role("guest")
        .role("reader")
        .permits("c");
    let roles = roles.build().unwrap();
    for permission in ["a", "b", "c"] {
        assert!(roles.grants("clerk", permission), "{permission}");
    }
    assert!(Roles::builder().build().unwrap().names().next().is_none(), "no roles are no error");
}

#[tokio::test]
async fn more_roles_than_a_word_has_bits() {
    const COUNT: usize = 200;
    let names: Vec<_> = (0..COUNT).map(|number| format!("role-{number}")).collect();
    let roles = names.iter().enumerate().fold(Roles::builder(), |roles, (number, name)| {
        roles.role(name).permits(&format!("door:{number}"))
    });
    let doors = [0, 1, 62, 63, 64, 65, 127, 128, 191, 192, 199];
    let routes = doors.iter().fold(Routes::builder().restricted(), |routes, door| {
        routes.get(&format!("/{door}"), Endpoint::default()).rule(require(format!("door:{door}")))
    });
    let routes = routes.build().unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles.build().unwrap()));
    let client = TestClient::new(layers.service(routes.into_service()));
    for door in doors {
        for (number, name) in names.iter().enumerate() {
            let caller = as_user("ada").roles([name.as_str()]);
            let answer = client.get(format!("/{door}")).as_user(caller).send().await;
            let status = if number == door { 200 } else { 403 };
            assert_eq!(answer.status(), status, "{name} at /{door}");
        }
    }
}
