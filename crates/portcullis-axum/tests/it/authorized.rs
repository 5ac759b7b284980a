//! What handlers can ask about what the caller may do.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::Path;
use portcullis_authz::{
    AuthorizeLayer, Binding, Columns, DecisionLog, DecisionRecord, LiveRoles, Resource, RoleEdit,
    RoleModel, RoleStore, RoleStoreError, Roles, SqlDialect, StoredRoles,
};
use portcullis_axum::{Authorized, Guarded, Permission, Problem, Require, get};
use portcullis_core::route::{Restricted, RouteLayer};
use portcullis_core::{
    AuthState, Challenges, Context, EdgeLayer, Stack, authenticated, optional, public, require,
};
use portcullis_testkit::{
    AsUser, StubAuthenticateLayer, TestClient, TestResponse, as_user, request,
};
use tokio::runtime::Handle;
use tower::ServiceExt;

use crate::support::{Decide, client};

struct Audit;
impl Permission for Audit {
    const NAME: &'static str = "orders:audit";
}

/// Order 1 is ada's, order 2 is of the tenant acme, order 3 of another one.
fn order(id: &str) -> Resource {
    let order = Resource::new("order", id);
    match id {
        "1" => order.owner("test||ada"),
        "2" => order.tenant("acme"),
        _ => order.tenant("other"),
    }
}

async fn check(authorized: Authorized, Path(id): Path<String>) -> Result<String, Problem> {
    authorized.check("orders:read", &order(&id))?;
    Ok(authorized.identity().subject().to_owned())
}
async fn may(authorized: Authorized, Path(id): Path<String>) -> String {
    authorized.may("orders:read", &order(&id)).to_string()
}
async fn list(authorized: Authorized) -> Result<String, Problem> {
    let columns = Columns::new().owner("owner").tenant("tenant");
    let filter = authorized.filter("orders:read", columns)?;
    let (condition, values) = filter.sql(SqlDialect::Sqlite, 1);
    Ok(format!("{condition} {values:?}"))
}
async fn forgetful(authorized: Authorized) -> String {
    format!("{}", authorized.authorizer().may(authorized.identity(), "orders:read", &order("1")))
}
async fn maybe(authorized: Option<Authorized>) -> String {
    authorized.map_or("nobody".to_owned(), |it| it.identity().subject().to_owned())
}
async fn audit(Require(who, ..): Require<Audit>) -> String {
    who.subject().to_owned()
}

fn roles() -> Roles {
    let roles = Roles::builder().role("customer").permits_own("orders:read");
    let roles = roles.role("clerk").permits("orders:read").permits_own("orders:audit");
    roles.role("auditor").inherits("clerk").permits("orders:audit").build().unwrap()
}

fn api() -> Guarded<(), Restricted> {
    let by_object = || require("orders:read").object_checked();
    Guarded::new()
        .route("/check/{id}", get(check), by_object())
        .route("/may/{id}", get(may), by_object())
        .route("/list", get(list), by_object())
        .route("/forgetful", get(forgetful), by_object())
        .route("/optional/{id}", get(check), optional())
        .route("/maybe", get(maybe), optional())
        .route("/maybe/public", get(maybe), public())
        .route("/public/{id}", get(check), public())
        .route("/audit", get(audit), authenticated())
        .route("/audit/optional", get(audit), optional())
        .route("/audit/public", get(audit), public())
}

/// What a caller gets, by the roles of `layer`.
async fn ask(layer: &AuthorizeLayer, path: &str, caller: Option<AsUser>) -> TestResponse {
    let api = api();
    let stack = Stack::new()
        .layer(EdgeLayer::new())
        .layer(api.route_layer())
        .layer(StubAuthenticateLayer::new())
        .layer(layer.clone());
    let client = TestClient::new(stack.around(api).unwrap());
    let request = client.get(path);
    match caller {
        Some(caller) => request.as_user(caller).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn a_handler_asks_about_the_object_that_it_has_found() {
    let layer = AuthorizeLayer::new(roles());
    let ada = || as_user("ada").roles(["customer"]);
    let clerk = || as_user("carl").roles(["clerk"]).tenant("acme");
    for (path, caller, status, want) in [
        ("/check/1", ada(), 200, "ada"),
        ("/check/2", ada(), 403, "permission-denied"),
        ("/check/1", clerk(), 200, "carl"),
        ("/check/2", clerk(), 200, "carl"),
        ("/check/3", clerk(), 403, "permission-denied"),
        // The same subject, of another tenant.
        ("/check/1", ada().tenant("acme"), 403, "permission-denied"),
        ("/may/1", ada(), 200, "true"),
        ("/may/2", ada(), 200, "false"),
        ("/may/3", clerk(), 200, "false"),
        ("/optional/1", ada(), 200, "ada"),
        ("/optional/3", ada(), 403, "permission-denied"),
    ] {
        let name = format!("{path} {caller:?}");
        let answer = ask(&layer, path, Some(caller)).await;
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.problem().unwrap_or(answer.text()), want, "{name}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_the_same_roles() {
    let layer = AuthorizeLayer::new(roles());
    let answer = ask(&layer, "/list", Some(as_user("ada").roles(["customer"]))).await;
    let exact = |column: &str, first: usize| {
        let second = first + 1;
        format!(
            "({column} = ${first} COLLATE BINARY AND CAST({column} AS TEXT) = ${second} COLLATE BINARY)"
        )
    };
    let owner = exact("owner", 1);
    let want = format!("(((tenant IS NULL) AND {owner})) [\"test||ada\", \"test||ada\"]");
    assert_eq!(answer.text(), want);
    let clerk = as_user("carl").roles(["clerk"]).tenant("acme");
    let answer = ask(&layer, "/list", Some(clerk)).await;
    let tenant = exact("tenant", 1);
    let want = format!("((tenant IS NULL OR {tenant})) [\"acme\", \"acme\"]");
    assert_eq!(answer.text(), want);
}

#[tokio::test]
async fn whoever_asks_in_another_way_has_not_looked_at_the_object() {
    let layer = AuthorizeLayer::new(roles());
    let answer = ask(&layer, "/forgetful", Some(as_user("ada").roles(["customer"]))).await;
    answer.assert_status(500).assert_problem("object-unchecked");
}

#[tokio::test]
async fn a_handler_asks_for_more_than_its_route_does() {
    let layer = AuthorizeLayer::new(roles());
    for (caller, status, want) in [
        (as_user("anna").roles(["auditor"]), 200, "anna"),
        // With one's own is not with all.
        (as_user("carl").roles(["clerk"]), 403, "permission-denied"),
        (as_user("eve").roles(["nobody-knows"]), 403, "permission-denied"),
    ] {
        for path in ["/audit", "/audit/optional"] {
            let name = format!("{path} {caller:?}");
            let answer = ask(&layer, path, Some(caller.clone())).await;
            assert_eq!(answer.status(), status, "{name}");
            assert_eq!(answer.problem().unwrap_or(answer.text()), want, "{name}");
        }
    }
}

#[tokio::test]
async fn a_role_counts_where_it_is_bound_and_no_longer_when_it_is_gone() {
    let roles = LiveRoles::new(roles());
    let layer = AuthorizeLayer::new(&roles);
    let bound = Binding::of("test", Some("acme"), "ada", "auditor").in_tenant("acme");
    let ada = || as_user("ada").tenant("acme");
    let seen = async || {
        let mut all = Vec::new();
        for path in ["/check/2", "/check/3", "/audit"] {
            all.push(ask(&layer, path, Some(ada())).await.status().as_u16());
        }
        all
    };
    assert_eq!(seen().await, [403, 403, 403]);
    roles.change(&[RoleEdit::Assign(bound.clone())]).unwrap();
    assert_eq!(seen().await, [200, 403, 200]);
    roles.change(&[RoleEdit::Unassign(bound)]).unwrap();
    assert_eq!(seen().await, [403, 403, 403]);
}

#[tokio::test]
async fn nobody_is_told_how_to_say_who_they_are() {
    let layer = AuthorizeLayer::new(roles());
    for path in ["/optional/1", "/public/1", "/audit/optional", "/audit/public"] {
        let answer = ask(&layer, path, None).await;
        answer.assert_status(401).assert_problem("authentication-required");
        // The stub's challenge.
        assert_eq!(answer.header("www-authenticate"), Some("Stub"), "{path}");
    }
}

#[tokio::test]
async fn a_handler_can_do_with_nobody() {
    let layer = AuthorizeLayer::new(roles());
    for (path, caller, want) in [
        ("/maybe", Some(as_user("ada")), "ada"),
        ("/maybe", None, "nobody"),
        ("/maybe/public", None, "nobody"),
    ] {
        let answer = ask(&layer, path, caller).await;
        assert_eq!((answer.status().as_u16(), answer.text()), (200, want), "{path}");
    }
}

#[tokio::test]
async fn without_a_layer_that_decides_it_is_the_servers_fault() {
    let routes = || {
        let api = Guarded::new().route("/check/{id}", get(check), authenticated());
        let api = api.route("/maybe", get(maybe), optional());
        api.route("/audit", get(audit), authenticated())
    };
    let ada = || as_user("ada").roles(["auditor"]);
    for path in ["/check/1", "/audit", "/maybe"] {
        // Somebody has decided, and it was no `AuthorizeLayer`.
        let answer = client(routes(), Decide::Allow).get(path).as_user(ada()).send().await;
        answer.assert_status(500).assert_problem("authorization-missing");
        let bare = axum::Router::new()
            .route("/check/{id}", axum::routing::get(check))
            .route("/maybe", axum::routing::get(maybe))
            .route("/audit", axum::routing::get(audit));
        let answer = TestClient::new(bare.clone()).get(path).send().await;
        answer.assert_status(500).assert_problem("authorization-missing");
        // Whether the caller is known or not: nobody has decided.
        for auth in [
            AuthState::Authenticated(ada().identity()),
            AuthState::Anonymous(Challenges::default()),
        ] {
            let name = format!("{path} {auth:?}");
            let mut request = request(http::Method::GET, path).build();
            Context::of(&mut request).set_auth(auth);
            let answer = bare.clone().oneshot(request.map(axum::body::Body::new)).await.unwrap();
            assert_eq!(answer.status(), 500, "{name}");
            let body = portcullis_testkit::read(answer).await;
            assert!(body.contains("#authorization-missing"), "{name}: {body}");
        }
    }
}

#[tokio::test]
async fn a_caller_who_has_no_way_to_say_who_they_are_is_the_servers_fault_too() {
    let api = Guarded::new().route("/audit", get(audit), optional());
    let layer = AuthorizeLayer::new(roles());
    let app = tower::ServiceBuilder::new()
        .map_request(|mut request: http::Request<portcullis_core::Body>| {
            Context::of(&mut request).set_auth(AuthState::Anonymous(Challenges::default()));
            request
        })
        .layer(RouteLayer::<Restricted>::new(Arc::clone(api.route_layer().table())))
        .layer(layer)
        .service(portcullis_core::stack::Endpoints::into_leaf(api).unwrap());
    let answer = app.oneshot(request(http::Method::GET, "/audit").build()).await.unwrap();
    assert_eq!(answer.status(), 500);
    let body = portcullis_testkit::read(answer).await;
    assert!(body.contains("#authentication-missing"), "{body}");
}

/// A store that can stop answering.
#[derive(Clone, Default)]
struct Failing(Arc<AtomicBool>);

#[async_trait]
impl RoleStore for Failing {
    async fn version(&self) -> Result<u64, RoleStoreError> {
        let is_gone = self.0.load(Ordering::SeqCst);
        if is_gone { Err(RoleStoreError::Unavailable("it is gone".into())) } else { Ok(1) }
    }
    async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError> {
        Ok((self.version().await?, RoleModel::default()))
    }
    async fn change(&self, _: &RoleModel, _: &[RoleEdit]) -> Result<u64, RoleStoreError> {
        self.version().await
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_503_and_never_access() {
    let store = Failing::default();
    let stored = StoredRoles::open(roles(), store.clone()).await.unwrap();
    let stored = stored.asking_every(Duration::from_millis(1)).trusted_for(Duration::ZERO);
    stored.start(&Handle::current());
    let layer = AuthorizeLayer::new(&stored);
    let auditor = || Some(as_user("anna").roles(["auditor"]));
    let paths = ["/optional/1", "/audit"];
    for path in paths {
        ask(&layer, path, auditor()).await.assert_status(200);
    }
    store.0.store(true, Ordering::SeqCst);
    let gone = async {
        while ask(&layer, "/audit", auditor()).await.status() == 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    for path in paths {
        let answer = ask(&layer, path, auditor()).await;
        answer.assert_status(503).assert_problem("authorization-unavailable");
        assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
    }
}

#[tokio::test]
async fn what_a_handler_asks_stands_in_the_log_of_decisions() {
    let written: Arc<Mutex<Vec<DecisionRecord>>> = Arc::default();
    let sink = Arc::clone(&written);
    let log = DecisionLog::new(move |record| sink.lock().unwrap().push(record));
    let layer = AuthorizeLayer::new(roles()).log(log);
    let ada = || Some(as_user("ada").roles(["customer"]));
    for path in ["/check/2", "/may/1", "/audit"] {
        ask(&layer, path, ada()).await;
    }
    let written = written.lock().unwrap();
    let by_rule = |rule: &str, reason: &str| {
        let found = written.iter().filter(|it| it.rule.contains(rule) && it.reason == reason);
        found.map(|it| (it.object.as_deref(), it.verdict.as_str())).collect::<Vec<_>>()
    };
    let denied = by_rule("orders:read", "object-not-permitted");
    assert_eq!(denied, [(Some("order 2"), "deny")]);
    assert_eq!(by_rule("orders:read", "object-permitted"), [(Some("order 1"), "allow")]);
    assert_eq!(by_rule("orders:audit", "permission-missing"), [(None, "deny")]);
}
