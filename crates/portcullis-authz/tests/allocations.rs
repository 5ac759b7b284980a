//! What a decision allocates: nothing, whether it is yes or no, and however many roles there are.
#![cfg(test)]
use std::alloc::System;
use std::convert::Infallible;

use http::{Request, Response};
use portcullis_authz::{
    AuthorizeLayer, Authorizer, Binding, DecisionLog, DecisionRecord, ExplainLayer, Opinion,
    Question, Resource, RoleDefinition, RoleModel, Roles,
};
use portcullis_core::{Body, Context, Identity, Routes, StepUp, optional, policy, public, require};
use portcullis_testkit::{as_user, get};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often something allocates, with what comes of it.
fn counted<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let value = what();
    let allocations = region.change().allocations;
    (value, allocations)
}

/// Roles in chains of ten, each with permissions of its own, some of them patterns, and a few bindings.
fn roles(count: usize) -> Roles {
    let mut model = RoleModel::default();
    for at in 0..count {
        let mut role = RoleDefinition::default();
        role.permissions.extend([format!("door-{at}:open").into(), format!("hall-{at}:*").into()]);
        role.permissions.extend((at % 7 == 3).then(|| "*:see".into()));
        role.own.insert(format!("desk-{at}:use").into());
        if at + 1 < count && at % 10 != 9 {
            role.inherits.insert(format!("role-{}", at + 1).into());
        }
        model.put_role(format!("role-{at}"), role);
    }
    let ada = || Binding::of("test", None, "ada", "role-1");
    model.put_binding(ada().at("/acme"));
    model.put_binding(ada().in_tenant("bolt"));
    Roles::try_from(model).unwrap()
}

fn checks() {
    for count in [10, 1_000, 10_000] {
        let roles = roles(count);
        let authorizer = Authorizer::new(roles.clone());
        let ada = Identity::builder("test", "ada").roles(["role-0", "role-5", "ghost"]).build();
        let bob = Identity::builder("test", "bob").role("role-0").build();
        let thing = Resource::new("thing", "7");
        let own = Resource::new("desk", "7").owner("test||bob");
        let below = Resource::new("thing", "7").path("/acme/7");
        let other = Resource::new("thing", "7").tenant("bolt");
        let elsewhere = Resource::new("thing", "7").tenant("cob").path("/acme");
        // As somebody has asked before: the first decision of a thread prepares what is kept for the others.
        assert!(authorizer.may(&ada, "door-0:open", &thing));
        for (caller, permission, resource, granted) in [
            (&ada, "door-0:open", &thing, true),
            (&ada, "door-9:open", &thing, true),
            (&ada, "hall-4:any", &thing, true),
            (&ada, "stars:see", &thing, true),
            (&ada, "stars:count", &thing, false),
            (&ada, "door-10:open", &thing, false),
            (&ada, "nothing", &thing, false),
            (&bob, "desk-3:use", &own, true),
            (&ada, "desk-3:use", &own, false),
            (&bob, "desk-3:use", &thing, false),
            (&ada, "door-3:open", &below, true),
            (&ada, "door-3:open", &other, true),
            (&ada, "door-0:open", &other, false),
            (&ada, "door-3:open", &elsewhere, true),
            (&bob, "door-3:open", &elsewhere, false),
        ] {
            let (may, allocations) = counted(|| authorizer.may(caller, permission, resource));
            assert_eq!(
                (may, allocations),
                (granted, 0),
                "{permission} of {count} roles {resource:?}"
            );
        }
        for (role, permission, granted) in [
            ("role-0", "door-9:open", true),
            ("role-0", "door-x:open", false),
            ("ghost", "x", false),
        ] {
            let (grants, allocations) = counted(|| roles.grants(role, permission));
            assert_eq!((grants, allocations), (granted, 0), "{role} {permission} of {count}");
        }
        let (checked, allocations) =
            counted(|| authorizer.check(&ada, "door-0:open", &thing).is_ok());
        assert_eq!((checked, allocations), (true, 0), "a check that says yes");
    }
}

/// Roles that are kept apart, and sessions that have chosen some of theirs.
fn sessions() {
    let roles = Roles::builder()
        .role("reader")
        .permits("books:read")
        .role("clerk")
        .inherits("reader")
        .permits("books:write")
        .role("cashier")
        .role("auditor")
        .permits("till:count")
        .separates_dynamically("till", &["cashier", "auditor"], 2)
        .build()
        .unwrap();
    let authorizer = Authorizer::new(roles.clone());
    let with = |has: &[&str]| Identity::builder("test", "ada").roles(has.to_vec()).build();
    let (clerk, both) = (with(&["clerk"]), with(&["cashier", "auditor"]));
    let reads = roles.activate(&clerk, ["reader"]).unwrap();
    let counts = roles.activate(&both, ["auditor"]).unwrap();
    let thing = Resource::new("thing", "7");
    for (caller, permission, granted) in [
        (&clerk, "books:write", true),
        (&reads, "books:read", true),
        (&reads, "books:write", false),
        // Who has chosen neither can use neither.
        (&both, "till:count", false),
        (&counts, "till:count", true),
    ] {
        let (may, allocations) = counted(|| authorizer.may(caller, permission, &thing));
        assert_eq!((may, allocations), (granted, 0), "{permission}");
    }
}

/// The allocations of one request, whose context exists already.
async fn of_request<S>(service: S, path: &'static str) -> usize
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = get(path).build();
    Context::of(&mut request);
    let region = Region::new(ALLOCATOR);
    let response = service.oneshot(request).await.unwrap();
    let counted = region.change().allocations;
    assert_eq!(response.status(), 200, "{path}");
    counted
}

async fn layers() {
    let routes = Routes::builder()
        .get("/public", ())
        .rule(public())
        .get("/optional", ())
        .rule(optional())
        .get("/doors", ())
        .rule(require("door-9:open").scope("doors"))
        .get("/halls", ())
        .rule(require("hall-9:x").step_up_to(StepUp::default().at_level(1)))
        .get("/rooms", ())
        .rule(policy("all"))
        .build()
        .unwrap();
    let caller = as_user("ada").roles(["role-0"]).scopes(["doors"]);
    let caller = caller.with(|who| who.assurance(1));
    let all = |_: &Question<'_>| Opinion::allow("all");
    let endpoint =
        || service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let outer = ServiceBuilder::new().layer(routes.layer()).layer(caller);
    let without = outer.clone().service(endpoint());
    let layer = AuthorizeLayer::new(roles(1_000)).policy("all", all);
    let with = outer.clone().layer(layer.clone()).service(endpoint());
    // A log that takes nothing of what is allowed, and explanations that nobody asked for, cost nothing either.
    let log = DecisionLog::new(|_: DecisionRecord| unreachable!()).share_of_allowed(0.0);
    let logged = ServiceBuilder::new()
        .layer(ExplainLayer::new(roles(10), "door-1:open"))
        .layer(outer.layer(layer.log(log)).into_inner())
        .service(endpoint());
    for path in ["/public", "/optional", "/doors", "/halls", "/rooms"] {
        let plain = of_request(without.clone(), path).await;
        assert_eq!(of_request(with.clone(), path).await, plain, "{path}");
        assert_eq!(of_request(logged.clone(), path).await, plain, "{path}");
    }
}

// One test: the allocator counts for the whole process.
#[tokio::test]
async fn a_decision_allocates_nothing() {
    checks();
    sessions();
    layers().await;
}
