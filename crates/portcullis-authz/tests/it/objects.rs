//! Objects: routes whose handlers look at them, what is somebody's own, tenants, paths, lists.
use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use portcullis_authz::{
    AuthorizeLayer, Authorizer, Binding, Columns, Resource, RoleEdit, RoleModel, Roles,
};
use portcullis_core::{
    AuthState, Body, Challenges, Context, EdgeLayer, Identity, IdentityBuilder, Routes, Stack,
    optional, public, require,
};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestClient, TestRequest, as_user, get};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tower::{ServiceBuilder, service_fn};

use crate::support::Endpoint;

const SECRET: &str = "the secret of the order";

fn own_roles() -> Roles {
    let roles = Roles::builder().role("customer").permits_own("orders:read");
    roles.role("clerk").permits("orders:read").role("other").permits("books:read").build().unwrap()
}

/// A shop whose handlers do as the path says with the order of the customer that it names.
async fn order(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context = Context::of(&mut request);
    let path: Vec<_> = request.uri().path().split('/').skip(1).map(str::to_owned).collect();
    let answer = |status: u16| {
        let body = Body::from(SECRET);
        Ok(Response::builder().status(status).header("x-order", SECRET).body(body).unwrap())
    };
    let order = Resource::new("order", "7").owner(format!("test||{}", path[1]));
    let authorizer = Authorizer::of(&context);
    match path[0].as_str() {
        "checked" => match authorizer.unwrap().check_in(&context, "orders:read", &order) {
            Ok(()) => answer(200),
            Err(problem) => Ok(problem.respond(&context)),
        },
        "listed" => {
            let filter = authorizer.unwrap().filter_in(
                &context,
                "orders:read",
                Columns::new().owner("customer"),
            );
            answer(if filter.unwrap().is_nothing() { 204 } else { 200 })
        }
        // One that has forgotten it, or has looked by itself.
        _ => answer(path[1].parse().unwrap()),
    }
}

fn shop() -> TestClient<
    impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone,
> {
    let rule = || require("orders:read").object_checked();
    let routes = Routes::builder()
        .get("/checked/{customer}", service_fn(order))
        .rule(rule())
        .get("/listed/{customer}", service_fn(order))
        .rule(rule())
        .get("/forgotten/{status}", service_fn(order))
        .rule(rule())
        .get("/plain/{status}", service_fn(order))
        .rule(require("orders:read"))
        .build()
        .unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(own_roles()));
    TestClient::new(stack.around(routes).unwrap()).allow_header("x-order").foreign_errors()
}

fn of(subject: &'static str, role: &'static str) -> AsUser {
    as_user(subject).roles([role])
}

#[tokio::test]
async fn who_may_with_their_own_passes_to_a_handler_that_looks_and_sees_their_own_alone() {
    let shop = shop();
    for (path, caller, status) in [
        ("/checked/ada", Some(of("ada", "customer")), 200),
        ("/checked/bob", Some(of("ada", "customer")), 403),
        // Alike is not the same.
        ("/checked/ADA", Some(of("ada", "customer")), 403),
        ("/checked/ada", Some(of("ada", "customer").tenant("acme")), 403),
        ("/checked/bob", Some(of("carl", "clerk")), 200),
        ("/checked/ada", Some(of("ada", "other")), 403),
        ("/checked/ada", Some("ada".into()), 403),
        ("/checked/ada", None, 401),
        ("/listed/x", Some(of("ada", "customer")), 200),
        ("/listed/x", Some(of("ada", "other")), 403),
        // Without the word, who may with some may not.
        ("/plain/200", Some(of("ada", "customer")), 403),
        ("/plain/200", Some(of("carl", "clerk")), 200),
    ] {
        let request = caller.clone().into_iter().fold(shop.get(path), TestRequest::as_user);
        let answer = request.send().await;
        assert_eq!(answer.status(), status, "{path} {caller:?}");
        assert_eq!(answer.text().contains(SECRET), status == 200, "{path} {caller:?}");
    }
}

#[tokio::test]
async fn a_handler_that_has_looked_at_nothing_answers_for_nothing() {
    let shop = shop();
    for (status, is_hidden) in [
        (200, true),
        (201, true),
        (302, true),
        (304, true),
        // These say nothing of any object, or are the handler's own refusal.
        (400, false),
        (403, false),
        (404, false),
        (500, false),
        (503, false),
    ] {
        for caller in [of("ada", "customer"), of("carl", "clerk")] {
            let answer = shop.get(format!("/forgotten/{status}")).as_user(caller).send().await;
            if is_hidden {
                answer.assert_status(500).assert_problem("object-unchecked");
                assert!(!answer.text().contains(SECRET), "{status}");
                assert_eq!(answer.header("x-order"), None, "{status}");
            } else {
                answer.assert_status(status);
                assert_eq!(answer.problem(), None, "{status}");
            }
        }
    }
    // Where nobody said that it looks, nobody asks whether it did.
    shop.get("/plain/200").as_user(of("carl", "clerk")).send().await.assert_status(200);
}

#[test]
fn a_permission_that_roles_grant_with_own_objects_alone_asks_for_the_word() {
    let start = |rule: portcullis_core::Rule<portcullis_core::route::Restricted>| {
        let routes = Routes::builder().get("/", Endpoint::default()).rule(rule).build().unwrap();
        let roles = Roles::builder().role("customer").permits_own("orders:read");
        let roles = roles.role("caller").permits("books:*").build().unwrap();
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles));
        stack.around(routes).map(|_| ()).map_err(|errors| errors.to_string())
    };
    assert_eq!(start(require("orders:read").object_checked()), Ok(()));
    assert_eq!(start(require("books:read").object_checked()), Ok(()));
    for rule in [optional().object_checked(), public().restricted().object_checked()] {
        let told = start(rule).unwrap_err();
        assert!(told.contains("open to callers about whom nothing can be asked"), "{told}");
    }
    let lacks = "route `GET /`: no role grants the permission";
    let told = start(require("orders:read")).unwrap_err();
    assert!(told.starts_with(&format!("{lacks} `orders:read`: ")), "{told}");
    assert!(told.contains("say `object_checked`"), "{told}");
    for rule in [require("orders:write"), require("orders:write").object_checked()] {
        let told = start(rule).unwrap_err();
        assert!(told.starts_with(&format!("{lacks} `orders:write`: ")), "{told}");
        assert!(!told.contains("object_checked"), "{told}");
    }
}

#[tokio::test]
async fn handlers_have_the_authorizer_of_the_layer_in_front_and_none_where_there_is_none() {
    let mut request = get("/").build();
    assert!(Authorizer::of(&Context::of(&mut request)).is_none());
    let is_there = service_fn(async |mut request: Request<Body>| {
        let is_there = Authorizer::of(&Context::of(&mut request)).is_some();
        Ok::<_, Infallible>(Response::new(Body::from(is_there.to_string())))
    });
    let routes = Routes::builder()
        .get("/public", is_there)
        .public()
        .get("/optional", is_there)
        .optional()
        .get("/me", is_there)
        .authenticated()
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(own_roles()));
    let client = TestClient::new(layers.service(routes.into_service()));
    // Of a public route nobody knows who calls it, so there is nobody to ask about.
    for (path, has) in [("/public", "false"), ("/optional", "true"), ("/me", "true")] {
        assert_eq!(client.get(path).as_user("ada").send().await.text(), has, "{path}");
    }
}

#[test]
fn of_a_caller_nobody_knows_nothing_is_permitted() {
    let authorizer = Authorizer::new(Roles::builder().role("root").permits("*").build().unwrap());
    let order = Resource::new("order", "7");
    for (challenges, status) in [
        (Some(Challenges::new([http::HeaderValue::from_static("Stub")])), StatusCode::UNAUTHORIZED),
        (Some(Challenges::default()), StatusCode::FORBIDDEN),
        (None, StatusCode::FORBIDDEN),
    ] {
        let context = Context::of(&mut get("/").build());
        challenges.map(|challenges| context.set_auth(AuthState::Anonymous(challenges)));
        let problem = authorizer.check_in(&context, "orders:read", &order).unwrap_err();
        assert_eq!(problem.status(), status);
        assert!(context.is_object_checked());
        let filter = authorizer.filter_in(&context, "orders:read", Columns::new()).unwrap();
        assert!(filter.is_nothing() && !filter.matches(&order));
    }
}

// Tenants and paths.

fn model(edits: &[RoleEdit]) -> Roles {
    let mut model = RoleModel::default();
    for edit in edits {
        model.apply(edit).unwrap();
    }
    Roles::try_from(model).unwrap()
}

fn clerk(bindings: impl IntoIterator<Item = Binding>) -> Authorizer {
    let mut edits = vec![RoleEdit::add_role("clerk"), RoleEdit::permit("clerk", "orders:read")];
    edits.extend(bindings.into_iter().map(RoleEdit::Assign));
    Authorizer::new(model(&edits))
}

#[test]
fn a_caller_of_one_tenant_may_nothing_with_what_is_another_ones_unless_a_binding_says_so() {
    let ada = || Identity::builder("id", "ada").tenant("acme");
    let bound = || Binding::of("id", Some("acme"), "ada", "clerk");
    let order = || Resource::new("order", "7");
    let [nobodys, acmes, bolts] = [order(), order().tenant("acme"), order().tenant("bolt")];
    let by_token = ada().role("clerk").build();
    let plain = ada().build();
    for (what, authorizer, caller, may) in [
        ("by the token", clerk([]), &by_token, [true, true, false]),
        ("by nothing", clerk([]), &plain, [false; 3]),
        ("everywhere", clerk([bound()]), &plain, [true; 3]),
        ("in the other tenant", clerk([bound().in_tenant("bolt")]), &plain, [false, false, true]),
        ("in their own", clerk([bound().in_tenant("acme")]), &plain, [false, true, false]),
        ("in both", clerk([bound().in_tenant("bolt")]), &by_token, [true; 3]),
        ("in one of another spelling", clerk([bound().in_tenant("Bolt")]), &plain, [false; 3]),
        ("in one without a name", clerk([bound().in_tenant("")]), &plain, [false; 3]),
    ] {
        let have = [&nobodys, &acmes, &bolts].map(|it| authorizer.may(caller, "orders:read", it));
        assert_eq!(have, may, "{what}");
        let checked = [&nobodys, &acmes, &bolts].map(|it| {
            authorizer.check(caller, "orders:read", it).map_err(|problem| problem.kind().slug())
        });
        assert_eq!(checked, may.map(|may| if may { Ok(()) } else { Err("permission-denied") }));
    }
    // A caller of no tenant is at home nowhere.
    let homeless = Identity::builder("id", "ada").role("clerk").build();
    let may = [&nobodys, &acmes].map(|it| clerk([]).may(&homeless, "orders:read", it));
    assert_eq!(may, [true, false]);
}

#[tokio::test]
async fn a_route_asks_for_what_somebody_may_without_a_look_at_an_object() {
    // In their own tenant is as good as everywhere there; in another one, or at a path, is not.
    let bound = || Binding::of("test", Some("acme"), "ada", "clerk");
    for (binding, is_general) in [
        (bound(), true),
        (bound().in_tenant("acme"), true),
        (bound().in_tenant("bolt"), false),
        (bound().at("/acme"), false),
    ] {
        for (rule, status) in [
            (require("orders:read"), if is_general { 200 } else { 403 }),
            (require("orders:read").object_checked(), 200),
        ] {
            let looks = service_fn(async |mut request: Request<Body>| {
                Context::of(&mut request).set_object_checked();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            });
            let routes = Routes::builder().get("/", looks).rule(rule).build().unwrap();
            let edits = [
                RoleEdit::add_role("clerk"),
                RoleEdit::permit("clerk", "orders:read"),
                RoleEdit::Assign(binding.clone()),
            ];
            let layers = ServiceBuilder::new()
                .layer(routes.layer())
                .layer(as_user("ada").tenant("acme"))
                .layer(AuthorizeLayer::new(model(&edits)));
            let client = TestClient::new(layers.service(routes.into_service()));
            assert_eq!(client.get("/").send().await.status(), status, "{binding}");
        }
    }
}

#[test]
fn a_role_at_a_path_is_for_what_is_there_and_below() {
    let ada = Identity::builder("id", "ada").build();
    let authorizer = clerk([Binding::of("id", None, "ada", "clerk").at("/a/b")]);
    for (path, may) in [
        ("/a/b", true),
        ("/a/b/c", true),
        ("/a/b/c/d", true),
        ("/a/bc", false),
        ("/a/bc/d", false),
        ("/a", false),
        ("/", false),
        ("", false),
        ("a/b", false),
        ("/A/b", false),
        ("/x/a/b", false),
        ("//a/b", false),
    ] {
        let order = Resource::new("order", "7").path(path);
        assert_eq!(authorizer.may(&ada, "orders:read", &order), may, "{path}");
        // Whose it is changes nothing: the path is where it is.
        assert_eq!(authorizer.may(&ada, "orders:read", &order.tenant("bolt")), may, "{path}");
    }
    assert!(!authorizer.may(&ada, "orders:read", &Resource::new("order", "7")), "nowhere");
}

// Lists.

const TENANTS: [Option<&str>; 3] = [None, Some("acme"), Some("bolt")];
const PATHS: [Option<&str>; 6] =
    [None, Some("/a"), Some("/a/b"), Some("/a/b/c"), Some("/a/bc"), Some("")];
const OWNERS: [Option<&str>; 5] =
    [None, Some("id||ada"), Some("id|acme|ada"), Some("id|acme|bob"), Some("ada")];
const PATTERNS: [&str; 6] =
    ["orders:read", "orders:*", "*:read", "*", "orders:write", "books:read"];

#[derive(Clone, Debug)]
struct Case {
    roles: Roles,
    caller: Identity,
}

fn cases() -> impl Strategy<Value = Case> {
    let role = (subsequence(PATTERNS.to_vec(), 0..3), subsequence(PATTERNS.to_vec(), 0..3));
    let binding = (0..4_usize, 0..6_usize);
    (
        prop::collection::vec(role, 3),
        prop::collection::vec((0..3_usize, 0..3_usize), 0..3),
        prop::collection::vec(binding, 0..4),
        subsequence(vec!["role-0", "role-1", "role-2"], 0..3),
        select(&TENANTS[..2]),
        (any::<bool>(), prop::option::of(0..3_usize)),
    )
        .prop_map(|(roles, inherits, bindings, said, tenant, (is_apart, active))| {
            let mut model = RoleModel::default();
            for at in 0..3 {
                model.apply(&RoleEdit::add_role(format!("role-{at}"))).unwrap();
            }
            for (at, (all, own)) in roles.iter().enumerate() {
                let name = format!("role-{at}");
                for permission in all {
                    model.apply(&RoleEdit::permit(name.as_str(), *permission)).unwrap();
                }
                for permission in own {
                    model.apply(&RoleEdit::permit_own(name.as_str(), *permission)).unwrap();
                }
            }
            for (senior, junior) in inherits {
                // What would be a circle is left out.
                _ = model
                    .apply(&RoleEdit::inherit(format!("role-{senior}"), format!("role-{junior}")));
            }
            if is_apart {
                _ = model.apply(&RoleEdit::separate_dynamically("some", ["role-0", "role-1"], 2));
            }
            for (role, scope) in bindings.into_iter().map(|(role, scope)| (role % 3, scope)) {
                let binding = Binding::of("id", tenant, "ada", format!("role-{role}"));
                let binding = match scope {
                    0 => binding,
                    1 => binding.in_tenant("acme"),
                    2 => binding.in_tenant("bolt"),
                    3 => binding.at("/a"),
                    4 => binding.at("/a/b"),
                    _ => binding.at("/a/bc"),
                };
                model.apply(&RoleEdit::Assign(binding)).unwrap();
            }
            let caller = Identity::builder("id", "ada").roles(said);
            let caller = tenant.into_iter().fold(caller, IdentityBuilder::tenant).build();
            let roles = Roles::try_from(model).unwrap();
            let active = active.and_then(|at| roles.activate(&caller, [format!("role-{at}")]).ok());
            Case { caller: active.unwrap_or(caller), roles }
        })
}

proptest! {
    #[test]
    fn a_filter_matches_what_a_check_allows(case in cases()) {
        let authorizer = Authorizer::new(case.roles);
        let columns = Columns::new().tenant("tenant").owner("owner").path("path");
        for action in ["orders:read", "orders:write", "books:read"] {
            let filter = authorizer.filter(&case.caller, action, columns).unwrap();
            let mut any = false;
            for (tenant, owner, path) in TENANTS.iter().flat_map(|tenant| {
                OWNERS.iter().flat_map(move |owner| PATHS.iter().map(move |path| (tenant, owner, path)))
            }) {
                let mut row = Resource::new("order", "7");
                row = tenant.iter().fold(row, |row, it| row.tenant(*it));
                row = owner.iter().fold(row, |row, it| row.owner(*it));
                row = path.iter().fold(row, |row, it| row.path(*it));
                let may = authorizer.may(&case.caller, action, &row);
                prop_assert_eq!(filter.matches(&row), may, "{} {:?}", action, row);
                any = any || may;
            }
            prop_assert!(!(filter.is_nothing() && any));
        }
    }
}
