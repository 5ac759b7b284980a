//! What INCITS 359 (the NIST model of roles) asks for, each a test: core, hierarchy, separation of duty, review functions.
use std::collections::BTreeSet;

use portcullis_authz::{
    AuthorizeLayer, Authorizer, Binding, LiveRoles, Resource, RoleEdit, RoleError, RoleModel, Roles,
};
use portcullis_core::{Identity, IdentityKey};
use portcullis_testkit::{StubAuthenticateLayer, TestClient, as_user};
use proptest::prelude::*;
use proptest::sample::Index;
use tower::ServiceBuilder;

use crate::support::Endpoint;

const ISSUER: &str = "https://id.example";

fn key(subject: &str) -> IdentityKey<'_> {
    IdentityKey { issuer: ISSUER, tenant: None, subject }
}
fn binding(subject: &str, role: &str) -> Binding {
    Binding::for_key(key(subject), role)
}
fn assign(subject: &str, role: &str) -> RoleEdit {
    RoleEdit::Assign(binding(subject, role))
}
fn caller(subject: &str) -> Identity {
    Identity::builder(ISSUER, subject).build()
}
fn may(roles: &Roles, caller: &Identity, permission: &str) -> bool {
    Authorizer::new(roles.clone()).may(caller, permission, &Resource::new("thing", "1"))
}
fn model(edits: &[RoleEdit]) -> RoleModel {
    let mut model = RoleModel::default();
    for edit in edits {
        model.apply(edit).unwrap_or_else(|error| panic!("{edit:?}: {error}"));
    }
    model
}
fn roles(edits: &[RoleEdit]) -> Roles {
    Roles::try_from(model(edits)).unwrap()
}
/// That a change is refused, and that nothing of the model is another one then.
fn refused(model: &mut RoleModel, edit: &RoleEdit) -> RoleError {
    let before = model.clone();
    let error = model.apply(edit).expect_err("it was taken");
    assert_eq!(*model, before, "{edit:?} is refused, and has changed something");
    error
}
fn separated(error: RoleError) -> (String, Vec<String>) {
    let RoleError::Separated { separation, roles, .. } = error else { panic!("{error}") };
    (separation.to_string(), roles.iter().map(ToString::to_string).collect())
}

// Core.

#[test]
fn users_roles_and_permissions_are_many_to_many() {
    let roles = roles(&[
        RoleEdit::add_role("reader"),
        RoleEdit::add_role("clerk"),
        RoleEdit::permit("reader", "books:read"),
        RoleEdit::permit("clerk", "books:read"),
        RoleEdit::permit("clerk", "orders:write"),
        assign("ada", "reader"),
        assign("ada", "clerk"),
        assign("bob", "reader"),
        assign("bob", "reader"),
    ]);
    for (subject, books, orders) in
        [("ada", true, true), ("bob", true, false), ("eve", false, false)]
    {
        assert_eq!(may(&roles, &caller(subject), "books:read"), books, "{subject}");
        assert_eq!(may(&roles, &caller(subject), "orders:write"), orders, "{subject}");
    }
    assert_eq!(roles.assigned_roles(key("ada")), BTreeSet::from(["clerk", "reader"]));
    assert_eq!(roles.model().bindings().len(), 3, "what is said twice counts once");
}

#[test]
fn a_user_is_whom_the_whole_key_names() {
    let roles = roles(&[
        RoleEdit::add_role("clerk"),
        RoleEdit::permit("clerk", "orders:write"),
        assign("ada", "clerk"),
    ]);
    let others = [
        Identity::builder("https://other.example", "ada").build(),
        Identity::builder(ISSUER, "ada").tenant("acme").build(),
        Identity::builder(ISSUER, "Ada").build(),
        Identity::builder(ISSUER, "ada ").build(),
    ];
    assert!(may(&roles, &caller("ada"), "orders:write"));
    for other in others {
        assert!(!may(&roles, &other, "orders:write"), "{}", other.key());
    }
}

#[test]
fn a_session_may_what_one_of_its_active_roles_may_and_nothing_else() {
    const ALL: [(&str, &[&str]); 4] =
        [("a", &["x:read", "x:write"]), ("b", &["x:read", "y:read"]), ("c", &["z:*"]), ("d", &[])];
    let edits = ALL.iter().flat_map(|(role, permits)| {
        let permits = permits.iter().map(|permission| RoleEdit::permit(*role, *permission));
        [RoleEdit::add_role(*role), assign("ada", role)].into_iter().chain(permits)
    });
    // A role that the user does not have, so that what it permits would be seen.
    let edits = edits.chain([RoleEdit::add_role("alien"), RoleEdit::permit("alien", "*")]);
    let roles = roles(&edits.collect::<Vec<_>>());
    for subset in 0..1_usize << ALL.len() {
        let active = || ALL.iter().enumerate().filter(move |(at, _)| subset & (1 << at) != 0);
        let session = roles.activate(&caller("ada"), active().map(|(_, (role, _))| *role)).unwrap();
        for permission in ["x:read", "x:write", "y:read", "z:read", "w:read"] {
            let union = active().any(|(_, (_, permits))| {
                permits.iter().any(|it| {
                    *it == permission
                        || it.strip_suffix('*').is_some_and(|it| permission.starts_with(it))
                })
            });
            assert_eq!(may(&roles, &session, permission), union, "{subset:04b} {permission}");
        }
        let names: BTreeSet<_> = active().map(|(_, (role, _))| *role).collect();
        assert_eq!(roles.session_roles(&session), names);
    }
    assert_eq!(roles.session_roles(&caller("ada")).len(), 4, "who has chosen none has all");
}

#[test]
fn nobody_activates_a_role_that_they_do_not_have() {
    let roles = roles(&[
        RoleEdit::add_role("reader"),
        RoleEdit::add_role("clerk"),
        RoleEdit::permit("clerk", "orders:write"),
        assign("ada", "reader"),
    ]);
    for role in ["clerk", "ghost", ""] {
        let error = roles.activate(&caller("ada"), [role]).unwrap_err();
        assert_eq!(error, RoleError::NotHeld(role.into()));
    }
    // Whoever says so all the same, without having asked, gets nothing by it.
    let liar = Identity::builder(ISSUER, "ada").active_roles(["clerk"]).build();
    assert!(!may(&roles, &liar, "orders:write"));
    assert!(roles.session_roles(&liar).is_empty());
}

#[test]
fn a_role_that_was_taken_away_is_active_no_longer() {
    let live = LiveRoles::new(roles(&[
        RoleEdit::add_role("clerk"),
        RoleEdit::permit("clerk", "orders:write"),
        assign("ada", "clerk"),
    ]));
    let session = live.current().activate(&caller("ada"), ["clerk"]).unwrap();
    assert!(may(&live.current(), &session, "orders:write"));
    live.change(&[RoleEdit::Unassign(binding("ada", "clerk"))]).unwrap();
    assert!(
        !may(&live.current(), &session, "orders:write"),
        "the session still says that it is active"
    );
}

// Hierarchy.

/// `top` above `left` and `right`, both above `bottom`; `aside` stands alone.
fn diamond() -> Vec<RoleEdit> {
    let mut edits = Vec::new();
    for role in ["top", "left", "right", "bottom", "aside"] {
        edits.extend([RoleEdit::add_role(role), RoleEdit::permit(role, format!("{role}:use"))]);
    }
    for (senior, junior) in
        [("top", "left"), ("top", "right"), ("left", "bottom"), ("right", "bottom")]
    {
        edits.push(RoleEdit::inherit(senior, junior));
    }
    edits
}

#[test]
fn a_senior_inherits_from_all_below_it_on_every_way_and_nothing_flows_down() {
    let roles = roles(&diamond());
    for (role, inherits) in [
        ("top", &["top", "left", "right", "bottom"][..]),
        ("left", &["left", "bottom"]),
        ("right", &["right", "bottom"]),
        ("bottom", &["bottom"]),
        ("aside", &["aside"]),
    ] {
        let caller = Identity::builder(ISSUER, "ada").role(role).build();
        for other in ["top", "left", "right", "bottom", "aside"] {
            let permission = format!("{other}:use");
            let has = inherits.contains(&other);
            assert_eq!(roles.grants(role, &permission), has, "{role} {permission}");
            assert_eq!(may(&roles, &caller, &permission), has, "{role} {permission}");
        }
        // What comes on two ways is there once.
        let want: BTreeSet<_> = inherits.iter().map(|it| format!("{it}:use")).collect();
        let have: Vec<_> = roles.role_permissions(role).into_iter().collect();
        assert_eq!(have, want.iter().map(String::as_str).collect::<Vec<_>>(), "{role}");
    }
    // And on one of two ways it is still there when the other one is gone.
    let mut model = model(&diamond());
    model.apply(&RoleEdit::disinherit("left", "bottom")).unwrap();
    let roles = Roles::try_from(model).unwrap();
    assert!(roles.grants("top", "bottom:use") && !roles.grants("left", "bottom:use"));
}

#[test]
fn a_circle_is_refused_when_it_is_written_and_changes_nothing() {
    let mut model = model(&diamond());
    for (senior, junior, way) in [
        ("bottom", "top", &["bottom", "left", "right", "top"][..]),
        ("bottom", "left", &["bottom", "left"]),
        ("top", "top", &["top"]),
    ] {
        let error = refused(&mut model, &RoleEdit::inherit(senior, junior));
        let RoleError::Circle(found) = error else { panic!("{error}") };
        assert_eq!(found.first(), found.last(), "{found:?}");
        assert!(found.len() >= 2 && found.iter().all(|role| way.contains(&&**role)), "{found:?}");
    }
    // A stored model that has one is refused as a whole.
    let mut stored = model.clone();
    let mut bottom = stored.roles().find(|(name, _)| *name == "bottom").unwrap().1.clone();
    bottom.inherits.insert("top".into());
    stored.put_role("bottom", bottom);
    assert!(matches!(Roles::try_from(stored), Err(RoleError::Circle(_))));
}

#[test]
fn of_changes_that_are_made_together_all_count_or_none() {
    let live = LiveRoles::new(roles(&diamond()));
    let before = live.current().model().clone();
    let error = live
        .change(&[
            RoleEdit::add_role("new"),
            RoleEdit::permit("bottom", "vault:open"),
            assign("ada", "top"),
            RoleEdit::inherit("bottom", "top"),
        ])
        .unwrap_err();
    assert!(matches!(error, RoleError::Circle(_)), "{error}");
    assert_eq!(*live.current().model(), before);
    assert!(!live.current().grants("bottom", "vault:open"));
}

#[test]
fn with_a_role_in_the_middle_goes_what_came_through_it() {
    let mut edits = diamond();
    edits.extend([
        RoleEdit::add_role("far"),
        RoleEdit::permit("far", "far:use"),
        RoleEdit::inherit("left", "far"),
        assign("ada", "left"),
        assign("bob", "top"),
        RoleEdit::separate_statically("sides", ["left", "aside"], 2),
    ]);
    let live = LiveRoles::new(roles(&edits));
    assert!(live.current().grants("top", "far:use"));
    live.change(&[RoleEdit::delete_role("left")]).unwrap();
    let roles = live.current();
    for (permission, granted) in [
        ("top:use", true),
        ("left:use", false),
        ("far:use", false),
        ("right:use", true),
        // By the other way.
        ("bottom:use", true),
    ] {
        assert_eq!(roles.grants("top", permission), granted, "{permission}");
        assert_eq!(may(&roles, &caller("bob"), permission), granted, "{permission}");
        assert!(!may(&roles, &caller("ada"), permission), "{permission}");
    }
    assert!(roles.grants("far", "far:use"), "those below it stay");
    assert!(roles.assigned_roles(key("ada")).is_empty());
    assert_eq!(roles.model().separations().len(), 0, "one role is not kept apart");
    // A role of the same name is a new one.
    live.change(&[RoleEdit::add_role("left")]).unwrap();
    assert!(!may(&live.current(), &caller("ada"), "bottom:use"));
    assert!(!live.current().grants("top", "left:use"));
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let mut model = model(&diamond());
    let unknown = || RoleError::Unknown("ghost".into());
    for edit in [
        RoleEdit::delete_role("ghost"),
        RoleEdit::permit("ghost", "a:b"),
        RoleEdit::forbid("ghost", "a:b"),
        RoleEdit::inherit("ghost", "top"),
        RoleEdit::inherit("top", "ghost"),
        RoleEdit::disinherit("ghost", "top"),
        RoleEdit::separate_statically("some", ["top", "ghost"], 2),
        assign("ada", "ghost"),
    ] {
        assert_eq!(refused(&mut model, &edit), unknown(), "{edit:?}");
    }
    let error = refused(&mut model, &RoleEdit::add_role("top"));
    assert_eq!(error, RoleError::Exists("top".into()));
    for edit in [
        RoleEdit::add_role(""),
        RoleEdit::add_role("two words"),
        RoleEdit::add_role("line\nbreak"),
        RoleEdit::permit("top", ""),
        RoleEdit::permit("top", "a*"),
        RoleEdit::permit_own("top", "a:*:b"),
        RoleEdit::Assign(binding("ada", "top").at("acme")),
        RoleEdit::Assign(binding("ada", "top").at("/acme/")),
        RoleEdit::Assign(binding("ada", "top").at("/")),
        RoleEdit::Assign(binding("ada", "top").at("/a//b")),
        RoleEdit::separate_statically("some", ["top", "left"], 1),
        RoleEdit::separate_statically("some", ["top", "left"], 3),
        RoleEdit::separate_dynamically("some", ["top", "top"], 2),
    ] {
        let error = refused(&mut model, &edit);
        assert!(matches!(error, RoleError::Malformed(_)), "{edit:?}: {error}");
    }
}

// Static separation of duty.

/// Four roles of which three are too many, and one that inherits from one of them.
fn kept_apart() -> Vec<RoleEdit> {
    let mut edits: Vec<_> =
        ["order", "receive", "pay", "audit", "chief"].map(RoleEdit::add_role).into();
    edits.extend(
        ["order", "receive", "pay", "audit"].map(|it| RoleEdit::permit(it, format!("{it}:do"))),
    );
    edits.push(RoleEdit::inherit("chief", "pay"));
    edits
}
const FOUR: [&str; 4] = ["order", "receive", "pay", "audit"];

#[test]
fn of_roles_that_are_kept_apart_nobody_gets_too_many() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_statically("purchase", FOUR, 3));
    edits.extend([assign("ada", "order"), assign("ada", "receive")]);
    let mut model = model(&edits);
    for third in ["pay", "audit"] {
        let (name, roles) = separated(refused(&mut model, &assign("ada", third)));
        assert_eq!((name.as_str(), roles.len()), ("purchase", 3), "{third}");
    }
    // At another place, or in another tenant, it is the same person.
    let elsewhere = RoleEdit::Assign(binding("ada", "pay").in_tenant("acme"));
    separated(refused(&mut model, &elsewhere));
    // Another one with the same name is not.
    let other = Binding::of("https://other.example", None, "ada", "pay");
    model.apply(&RoleEdit::Assign(other)).unwrap();
    // Another one of the four, in place of one of them.
    model.apply(&RoleEdit::Unassign(binding("ada", "order"))).unwrap();
    model.apply(&assign("ada", "pay")).unwrap();
    separated(refused(&mut model, &assign("ada", "order")));
}

#[test]
fn an_inherited_role_counts_as_one_that_somebody_has() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_statically("purchase", FOUR, 3));
    edits.extend([assign("ada", "order"), assign("ada", "receive")]);
    let mut model = model(&edits);
    let (_, roles) = separated(refused(&mut model, &assign("ada", "chief")));
    assert_eq!(roles, ["order", "pay", "receive"]);
    // What is inherited from on two ways is one role.
    model.apply(&RoleEdit::Unassign(binding("ada", "order"))).unwrap();
    model.apply(&assign("ada", "chief")).unwrap();
    model.apply(&assign("ada", "pay")).unwrap();
}

#[test]
fn an_inheritance_that_comes_later_is_held_to_the_separation() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_statically("purchase", FOUR, 3));
    edits.extend([assign("ada", "order"), assign("ada", "chief")]);
    let mut model = model(&edits);
    // Ada would have three of them.
    let (_, roles) = separated(refused(&mut model, &RoleEdit::inherit("chief", "audit")));
    assert_eq!(roles, ["audit", "order", "pay"]);
    // Nobody has it, but whoever got it would have three of them.
    model.apply(&RoleEdit::add_role("boss")).unwrap();
    model.apply(&RoleEdit::inherit("boss", "chief")).unwrap();
    model.apply(&RoleEdit::inherit("boss", "audit")).unwrap();
    let error = refused(&mut model, &RoleEdit::inherit("boss", "receive"));
    assert!(error.to_string().contains("whoever has `boss`"), "{error}");
}

#[test]
fn a_separation_that_comes_later_is_held_to_who_has_what() {
    let mut edits = kept_apart();
    edits.extend([assign("ada", "order"), assign("ada", "receive"), assign("ada", "chief")]);
    let mut model = model(&edits);
    let separation = RoleEdit::separate_statically("purchase", FOUR, 3);
    let (name, roles) = separated(refused(&mut model, &separation));
    assert_eq!((name.as_str(), roles.len()), ("purchase", 3));
    // A laxer one would do, and cannot be made stricter then.
    model.apply(&RoleEdit::separate_statically("purchase", FOUR, 4)).unwrap();
    separated(refused(&mut model, &separation));
    // When one of them is gone it can.
    model.apply(&RoleEdit::Unassign(binding("ada", "order"))).unwrap();
    model.apply(&separation).unwrap();
    separated(refused(&mut model, &assign("ada", "order")));
    model.apply(&RoleEdit::Unseparate("purchase".into())).unwrap();
    model.apply(&assign("ada", "order")).unwrap();
}

#[test]
fn whoever_has_too_many_by_a_token_can_use_none_of_them() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_statically("purchase", FOUR, 3));
    edits.extend([RoleEdit::add_role("reader"), RoleEdit::permit("reader", "books:read")]);
    edits.push(assign("ada", "order"));
    let roles = roles(&edits);
    let of = |said: &[&'static str]| {
        Identity::builder(ISSUER, "ada").roles(said.iter().copied()).build()
    };
    // One of them by the binding.
    let (two, three) = (of(&["pay", "reader"]), of(&["pay", "audit", "reader"]));
    for permission in ["order:do", "pay:do"] {
        assert!(may(&roles, &two, permission), "{permission}");
        assert!(!may(&roles, &three, permission), "{permission}");
    }
    // One of them inherited: neither it nor the role that inherits it.
    let chief = of(&["chief", "audit", "reader"]);
    for permission in ["order:do", "pay:do", "audit:do"] {
        assert!(!may(&roles, &chief, permission), "{permission}");
    }
    for caller in [two, three, chief] {
        assert!(may(&roles, &caller, "books:read"), "what is not kept apart stays");
    }
    // They cannot activate them together either.
    let error = roles.activate(&of(&["pay", "audit"]), ["order", "pay", "audit"]).unwrap_err();
    assert_eq!(separated(error).0, "purchase");
    // To have them is too much already, however few are active: what is static is about having.
    let error = roles.activate(&of(&["pay", "audit"]), ["order"]).unwrap_err();
    assert_eq!(separated(error).0, "purchase");
    let sly = of(&["pay", "audit"]).to_builder().active_roles(["order"]).build();
    assert!(!may(&roles, &sly, "order:do"));
}

// Dynamic separation of duty.

#[test]
fn of_roles_that_are_kept_apart_in_use_no_session_activates_too_many() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_dynamically("purchase", FOUR, 3));
    // Everybody may have all of them.
    edits.extend(FOUR.map(|role| assign("ada", role)));
    edits.push(assign("ada", "chief"));
    let roles = roles(&edits);
    for subset in 0..1_usize << FOUR.len() {
        let chosen: Vec<_> =
            FOUR.into_iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).collect();
        let chosen: Vec<_> = chosen.into_iter().map(|(_, role)| role).collect();
        match roles.activate(&caller("ada"), chosen.clone()) {
            Ok(session) => {
                assert!(chosen.len() < 3, "{chosen:?}");
                for role in FOUR {
                    let permission = format!("{role}:do");
                    assert_eq!(
                        may(&roles, &session, &permission),
                        chosen.contains(&role),
                        "{chosen:?}"
                    );
                }
            }
            Err(error) => {
                assert!(chosen.len() >= 3, "{chosen:?}: {error}");
                assert_eq!(separated(error).0, "purchase");
            }
        }
    }
    // An inherited one is active too.
    let error = roles.activate(&caller("ada"), ["order", "audit", "chief"]).unwrap_err();
    assert_eq!(separated(error).1, ["audit", "order", "pay"]);
    assert!(roles.activate(&caller("ada"), ["order", "chief", "pay"]).is_ok());
}

#[test]
fn it_counts_for_each_session_alone() {
    let roles = roles(&[
        RoleEdit::add_role("cashier"),
        RoleEdit::add_role("auditor"),
        RoleEdit::permit("cashier", "till:open"),
        RoleEdit::permit("auditor", "till:audit"),
        RoleEdit::separate_dynamically("till", ["cashier", "auditor"], 2),
        assign("ada", "cashier"),
        assign("ada", "auditor"),
    ]);
    let at_the_till = roles.activate(&caller("ada"), ["cashier"]).unwrap();
    let at_the_desk = roles.activate(&caller("ada"), ["auditor"]).unwrap();
    for (session, open, audit) in [(&at_the_till, true, false), (&at_the_desk, false, true)] {
        assert_eq!(may(&roles, session, "till:open"), open);
        assert_eq!(may(&roles, session, "till:audit"), audit);
    }
    // A session may change over, from what its user has and not from what it had.
    let over = roles.activate(&at_the_till, ["auditor"]).unwrap();
    assert!(may(&roles, &over, "till:audit") && !may(&roles, &over, "till:open"));
    assert!(roles.activate(&at_the_till, ["cashier", "auditor"]).is_err());
}

#[test]
fn who_has_activated_nothing_can_use_none_of_the_roles_that_are_kept_apart() {
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_dynamically("purchase", ["order", "pay"], 2));
    edits.extend([assign("ada", "order"), assign("ada", "chief"), assign("ada", "audit")]);
    edits.push(assign("bob", "order"));
    let roles = roles(&edits);
    for (permission, ada, bob) in
        [("order:do", false, true), ("pay:do", false, false), ("audit:do", true, false)]
    {
        assert_eq!(may(&roles, &caller("ada"), permission), ada, "{permission}");
        assert_eq!(may(&roles, &caller("bob"), permission), bob, "{permission}");
    }
    assert_eq!(roles.session_roles(&caller("ada")), BTreeSet::from(["audit"]));
    // A session that says it has both active has not asked.
    let liar = Identity::builder(ISSUER, "ada").active_roles(["order", "pay"]).build();
    assert!(!may(&roles, &liar, "order:do") && !may(&roles, &liar, "pay:do"));
}

#[test]
fn a_role_that_unites_what_is_kept_apart_is_refused() {
    // Nobody could ever use it.
    let mut edits = kept_apart();
    edits.push(RoleEdit::separate_dynamically("purchase", ["order", "pay"], 2));
    let mut model = model(&edits);
    separated(refused(&mut model, &RoleEdit::inherit("chief", "order")));
    let built = Roles::builder()
        .role("order")
        .role("pay")
        .role("both")
        .inherits("order")
        .inherits("pay")
        .separates_dynamically("purchase", &["order", "pay"], 2)
        .build();
    assert!(built.unwrap_err().to_string().contains("`both`"));
}

// Review functions, and what they must agree with.

#[test]
fn review_functions_say_who_has_what() {
    let mut edits = diamond();
    edits.extend([
        assign("ada", "top"),
        assign("bob", "left"),
        RoleEdit::Assign(binding("bob", "aside").in_tenant("acme")),
        RoleEdit::Assign(binding("cyd", "bottom").at("/acme/7")),
        RoleEdit::permit("bottom", "*:see"),
        RoleEdit::permit_own("bottom", "orders:read"),
    ]);
    let roles = roles(&edits);
    let subjects = |keys: Vec<IdentityKey<'_>>| -> Vec<String> {
        keys.iter().map(|key| key.subject.to_owned()).collect()
    };
    for (role, assigned, authorized) in [
        ("top", &["ada"][..], &["ada"][..]),
        ("left", &["bob"], &["ada", "bob"]),
        ("right", &[], &["ada"]),
        ("bottom", &["cyd"], &["ada", "bob", "cyd"]),
        ("aside", &["bob"], &["bob"]),
        ("ghost", &[], &[]),
    ] {
        assert_eq!(subjects(roles.assigned_users(role).collect()), assigned, "{role}");
        assert_eq!(subjects(roles.authorized_users(role).collect()), authorized, "{role}");
    }
    assert_eq!(roles.assigned_roles(key("bob")), BTreeSet::from(["aside", "left"]));
    assert_eq!(roles.authorized_roles(key("bob")), BTreeSet::from(["aside", "bottom", "left"]));
    assert_eq!(roles.role_permissions("left"), BTreeSet::from(["*:see", "bottom:use", "left:use"]));
    assert_eq!(roles.user_permissions(key("cyd")), BTreeSet::from(["*:see", "bottom:use"]));
    assert!(roles.user_permissions(key("eve")).is_empty());
    // A session has what its token says too, and what it has activated alone.
    let bob = Identity::builder(ISSUER, "bob").role("right").build();
    assert_eq!(roles.session_roles(&bob), BTreeSet::from(["aside", "left", "right"]));
    let session = roles.activate(&bob, ["right"]).unwrap();
    assert_eq!(roles.session_roles(&session), BTreeSet::from(["right"]));
    assert_eq!(
        roles.session_permissions(&session),
        BTreeSet::from(["*:see", "bottom:use", "right:use"])
    );
}

const USERS: [&str; 3] = ["ada", "bob", "cyd"];
const PERMISSIONS: [&str; 6] = ["a:x", "a:y", "b:x", "b:y", "c:x", "c:y"];

/// Random roles, who has them, and which of them are kept apart. What would be refused is left out.
fn random_model() -> impl Strategy<Value = RoleModel> {
    let pair = || (any::<Index>(), any::<Index>());
    let lists = (
        2..7_usize,
        prop::collection::vec(pair(), 0..10),
        prop::collection::vec(pair(), 0..10),
        prop::collection::vec(pair(), 0..8),
        prop::collection::vec((prop::collection::vec(any::<Index>(), 2..4), any::<bool>()), 0..2),
    );
    lists.prop_map(|(count, permits, inherits, bindings, separations)| {
        let name = |at: &Index| format!("role-{}", at.index(count));
        let mut model = RoleModel::default();
        for at in 0..count {
            model.apply(&RoleEdit::add_role(format!("role-{at}"))).unwrap();
        }
        for (role, permission) in &permits {
            model
                .apply(&RoleEdit::permit(
                    name(role),
                    PERMISSIONS[permission.index(PERMISSIONS.len())],
                ))
                .unwrap();
        }
        for (roles, is_static) in &separations {
            let roles = roles.iter().map(name);
            _ = model.apply(&if *is_static {
                RoleEdit::separate_statically("some", roles, 2)
            } else {
                RoleEdit::separate_dynamically("some", roles, 2)
            });
        }
        for (senior, junior) in &inherits {
            _ = model.apply(&RoleEdit::inherit(name(senior), name(junior)));
        }
        for (user, role) in &bindings {
            _ = model.apply(&assign(USERS[user.index(USERS.len())], &name(role)));
        }
        model
    })
}

proptest! {
    #[test]
    fn review_functions_agree_with_each_other_and_with_what_is_decided(
        model in random_model(),
        chosen in prop::collection::vec(any::<Index>(), 0..3),
    ) {
        let roles = Roles::try_from(model).unwrap();
        let names: Vec<String> = roles.names().map(str::to_owned).collect();
        for user in USERS {
            let held = roles.authorized_roles(key(user));
            for role in &names {
                let has = held.contains(role.as_str());
                prop_assert_eq!(roles.authorized_users(role).any(|it| it == key(user)), has);
                let given = roles.assigned_roles(key(user)).contains(role.as_str());
                prop_assert_eq!(roles.assigned_users(role).any(|it| it == key(user)), given);
                prop_assert!(has || !given);
                // Alone it can be activated by whoever has it, and by nobody else.
                let session = roles.activate(&caller(user), [role.as_str()]);
                prop_assert_eq!(session.is_ok(), has, "{} {}", user, role);
                for permission in PERMISSIONS {
                    let says = roles.role_permissions(role).contains(permission);
                    prop_assert_eq!(roles.grants(role, permission), says);
                    if let Ok(session) = &session {
                        prop_assert_eq!(may(&roles, session, permission), says);
                    }
                }
            }
            // What a user may is what the roles may that they have.
            let of_roles: BTreeSet<_> =
                held.iter().flat_map(|role| roles.role_permissions(role)).collect();
            prop_assert_eq!(roles.user_permissions(key(user)), of_roles);
            // A session, with all roles or with some of them.
            let some: BTreeSet<_> = chosen.iter().map(|at| at.get(&names).as_str()).collect();
            let sessions = [Ok(caller(user)), roles.activate(&caller(user), some)];
            for session in sessions.into_iter().flatten() {
                let can = roles.session_permissions(&session);
                prop_assert!(can.is_subset(&roles.user_permissions(key(user))));
                for permission in PERMISSIONS {
                    let decided = may(&roles, &session, permission);
                    prop_assert_eq!(decided, can.contains(permission), "{} {}", user, permission);
                }
                // Whatever the separations are, no session uses too many of what they keep apart.
                let active: BTreeSet<_> = roles.session_roles(&session);
                for (_, it) in roles.model().separations() {
                    let uses = it.roles.iter().filter(|role| {
                        let seniors = |have: &&&str| {
                            **have == &***role || inherits(&roles, have, role)
                        };
                        active.iter().any(|have| seniors(&have))
                    });
                    prop_assert!(uses.count() < it.too_many);
                }
            }
        }
    }
}

/// Whether a role inherits from another one in the end, found out by walking.
fn inherits(roles: &Roles, senior: &str, junior: &str) -> bool {
    let definition = roles.model().roles().find(|(name, _)| *name == senior).unwrap().1;
    definition.inherits.iter().any(|it| &**it == junior || inherits(roles, it, junior))
}

// Revocation.

#[tokio::test]
async fn live_sessions_see_what_is_taken_away_at_the_next_decision() {
    let live = LiveRoles::new(roles(&[
        RoleEdit::add_role("clerk"),
        RoleEdit::add_role("chief"),
        RoleEdit::permit("clerk", "orders:write"),
        RoleEdit::inherit("chief", "clerk"),
    ]));
    let endpoint = Endpoint::default();
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(&live).require("orders:write"));
    let client = TestClient::new(layers.service(endpoint.clone()));
    let of = |subject: &str| Binding::of("test", None, subject, "chief");
    let by_token = as_user("tom").roles(["chief"]);
    let send = async |user: portcullis_testkit::AsUser| {
        client.get("/").as_user(user).send().await.status().as_u16()
    };
    assert_eq!(send("ada".into()).await, 403);
    assert_eq!(send(by_token.clone()).await, 200);
    let by_path = of("eve").at("/acme");
    live.change(&[RoleEdit::Assign(of("ada")), RoleEdit::Assign(by_path)]).unwrap();
    assert_eq!(send("ada".into()).await, 200);
    assert_eq!(send("eve".into()).await, 403, "a role at a path is not one for all");
    for (edit, back) in [
        (RoleEdit::Unassign(of("ada")), vec![RoleEdit::Assign(of("ada"))]),
        (
            RoleEdit::forbid("clerk", "orders:write"),
            vec![RoleEdit::permit("clerk", "orders:write")],
        ),
        (RoleEdit::disinherit("chief", "clerk"), vec![RoleEdit::inherit("chief", "clerk")]),
        (
            RoleEdit::delete_role("chief"),
            vec![
                RoleEdit::add_role("chief"),
                RoleEdit::inherit("chief", "clerk"),
                RoleEdit::Assign(of("ada")),
            ],
        ),
        (
            RoleEdit::delete_role("clerk"),
            vec![
                RoleEdit::add_role("clerk"),
                RoleEdit::permit("clerk", "orders:write"),
                RoleEdit::inherit("chief", "clerk"),
            ],
        ),
    ] {
        live.change(std::slice::from_ref(&edit)).unwrap();
        let calls = endpoint.calls();
        assert_eq!(send("ada".into()).await, 403, "{edit:?}");
        if !matches!(edit, RoleEdit::Unassign(_)) {
            assert_eq!(send(by_token.clone()).await, 403, "{edit:?}");
        }
        assert_eq!(endpoint.calls(), calls, "{edit:?}");
        live.change(&back).unwrap();
        assert_eq!(send("ada".into()).await, 200, "{back:?}");
    }
    // Other roles altogether.
    live.replace(Roles::default());
    assert_eq!(send(by_token).await, 403);
}

#[test]
fn a_limited_hierarchy_has_one_junior_for_each_role() {
    let mut model = RoleModel::default().limited();
    for role in ["manager", "clerk", "auditor"] {
        model.apply(&RoleEdit::add_role(role)).unwrap();
    }
    model.apply(&RoleEdit::inherit("manager", "clerk")).unwrap();
    let before = model.clone();
    let refused = model.apply(&RoleEdit::inherit("manager", "auditor")).unwrap_err();
    assert_eq!(refused, RoleError::Limited("manager".into()));
    assert_eq!(model, before, "nothing has changed");
    // Several may inherit from one.
    model.apply(&RoleEdit::inherit("auditor", "clerk")).unwrap();
    model.apply(&RoleEdit::disinherit("manager", "clerk")).unwrap();
    model.apply(&RoleEdit::inherit("manager", "auditor")).unwrap();
    let written =
        Roles::builder().limited().role("a").role("b").role("c").inherits("a").inherits("b");
    let errors = written.build().unwrap_err();
    assert!(errors.to_string().starts_with("role `c`: "), "{errors}");
}

#[test]
fn of_many_separations_each_counts() {
    // More than fit into a word.
    let mut edits = Vec::new();
    for at in 0..70 {
        let pair = [format!("a{at}"), format!("b{at}")];
        edits.extend(pair.iter().map(|role| RoleEdit::add_role(role.as_str())));
        edits.extend(pair.iter().map(|role| RoleEdit::permit(role.as_str(), format!("{role}:do"))));
        edits.push(RoleEdit::separate_dynamically(format!("s{at}"), pair, 2));
    }
    let roles = roles(&edits);
    for at in [0, 1, 62, 63, 64, 69] {
        let caller = |said: &[String]| {
            Identity::builder(ISSUER, "ada").roles(said.iter().map(String::as_str)).build()
        };
        let (one, other) = (format!("a{at}"), format!("b{at}"));
        let do_one = format!("a{at}:do");
        assert!(may(&roles, &caller(std::slice::from_ref(&one)), &do_one), "{at}");
        assert!(may(&roles, &caller(&[one.clone(), "b5".into()]), &do_one), "{at}");
        assert!(!may(&roles, &caller(&[one, other]), &do_one), "{at}");
    }
}
