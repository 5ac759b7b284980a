//! Assembled by hand around the compiler, the leaf still refuses; and what is wrong is told at start where it can be.
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use portcullis::axum::{Caching, Guarded, get, post};
use portcullis::cache::{Cached, Scope};
use portcullis::prelude::*;
use portcullis::route::{Open, RouteLayer};
use portcullis::stack::{Enforcement, Staged};
use portcullis::{AuthState, Body, Context, Decision, Requirement, Verdict};
use portcullis_testkit::{TestClient, as_user};
use tower::{Layer, ServiceBuilder, service_fn};

fn api() -> Guarded<(), Restricted> {
    Guarded::new()
        .route("/open", get(|| async { "open" }), public())
        .route("/orders", get(|| async { "orders" }), require("orders:read"))
        .route("/films", get(|| async { "films" }), require("orders:read"))
}

fn roles() -> Roles {
    Roles::builder().role("clerk").permits("orders:*").build().unwrap()
}

/// A layer whose author says that it enforces, and which does not.
#[derive(Clone)]
struct Liar;
impl<S> Layer<S> for Liar {
    type Service = S;
    fn layer(&self, inner: S) -> S {
        inner
    }
}
impl Staged for Liar {
    type Stage = stage::Authorize;
    type Needs = ();
    type Provides = Enforcement;
}

#[tokio::test]
async fn a_router_without_any_layer_serves_what_is_public_and_refuses_the_rest() {
    let client = TestClient::new(api().into_router().unwrap());
    client.get("/open").send().await.assert_status(200);
    client.get("/orders").send().await.assert_problem("authorization-missing").assert_status(500);
}

#[tokio::test]
async fn every_way_around_the_compiler_ends_at_the_leaf() {
    let api = api();
    // The table is vouched for as one in which everything is public.
    let open = RouteLayer::<Open>::new(api.route_layer().table().clone());
    let stack = Stack::new().layer(EdgeLayer::default()).layer(open);
    let client = TestClient::new(stack.around(api).unwrap());
    client.get("/open").send().await.assert_status(200);
    client.get("/orders").send().await.assert_problem("authorization-missing");

    let api = self::api();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer()).layer(Liar);
    let client = TestClient::new(stack.around(api).unwrap());
    client.get("/orders").send().await.assert_problem("authorization-missing");

    // Out of order, in a plain builder: authorization before anybody knows the route.
    let api = self::api();
    let builder = ServiceBuilder::new()
        .layer(EdgeLayer::default())
        .layer(as_user("alice").roles(["clerk"]))
        .layer(AuthorizeLayer::new(roles()))
        .layer(api.route_layer());
    let client = TestClient::new(builder.service(api.into_router().unwrap()));
    client.get("/orders").send().await.assert_problem("authorization-missing");
}

#[tokio::test]
async fn a_decision_about_another_route_or_another_table_is_no_decision() {
    let (mine, other) = (api(), api());
    let (this, that) = (mine.route_layer().table().clone(), other.route_layer().table().clone());
    for (what, decided, status) in [
        ("the route itself", this.route(1), 200),
        ("another route of the table", this.route(2), 500),
        ("the same route of another table", that.route(1), 500),
        ("no route", None, 500),
    ] {
        let decide = move |mut request: Request<Body>| {
            let decision =
                Decision::new(Verdict::Allow, decided.clone(), Requirement::Public, "test");
            Context::of(&mut request).set_decision(decision);
            request
        };
        let router = mine_again(&mine);
        let layers = ServiceBuilder::new()
            .layer(EdgeLayer::default())
            .layer(mine.route_layer())
            .map_request(decide)
            .service(router);
        let answer = TestClient::new(layers).get("/orders").send().await;
        assert_eq!(answer.status(), status, "{what}");
    }
}

/// A leaf of the very table of `api`.
fn mine_again(
    api: &Guarded<(), Restricted>,
) -> impl Clone
+ tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> {
    let guard = portcullis::route::GuardLayer::table(api.route_layer().table().clone());
    guard.layer(service_fn(|_: Request<Body>| async { Ok(Response::new(Body::empty())) }))
}

#[tokio::test]
async fn what_is_stored_for_somebody_is_for_nobody_about_whom_nothing_was_decided() {
    let mine = CacheControl::private().max_age(Duration::from_secs(60));
    let orders = get(move || async move { (Caching(mine), "orders") });
    let api = Guarded::<()>::new().route("/orders", orders, require("orders:read").cached());
    // Stands where authorization does, and says something only where it is told to.
    let decide = |mut request: Request<Body>| {
        if request.headers().contains_key("decide") {
            let context = Context::of(&mut request);
            let route = context.route().cloned();
            context.set_decision(Decision::new(Verdict::Allow, route, Requirement::Public, "test"));
        }
        request
    };
    let layers = ServiceBuilder::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(as_user("alice"))
        .map_request(decide)
        .layer(CacheLayer::in_memory(1 << 20))
        .service(api.into_router().unwrap());
    let client = TestClient::new(layers);
    for is_hit in [false, true] {
        let answer = client.get("/orders").header("decide", "yes").send().await;
        answer.assert_status(200);
        assert_eq!(answer.header("cache-status").unwrap().contains("; hit"), is_hit);
    }
    client.get("/orders").send().await.assert_problem("authorization-missing").assert_status(500);
}

#[tokio::test]
async fn a_target_that_was_changed_after_it_was_checked_is_refused() {
    let api = api();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(as_user("alice").roles(["clerk"]))
        .layer(AuthorizeLayer::new(roles()))
        .at(
            stage::Inner,
            tower::util::MapRequestLayer::new(|mut request: Request<Body>| {
                *request.uri_mut() = "/orders?changed".parse().unwrap();
                request
            }),
        );
    let client = TestClient::new(stack.around(api).unwrap());
    client.get("/orders").send().await.assert_problem("target-changed");
    client.get("/orders?changed").send().await.assert_status(200);
}

#[tokio::test]
async fn behind_a_router_that_matched_the_raw_path_nothing_is_normalised() {
    // The layers come after the routing here, so the router has chosen `admin` for `/admin/../public/x`.
    let router = || {
        axum::Router::new()
            .route("/public/{*rest}", axum::routing::get(|| async { "public" }))
            .route("/admin/{*rest}", axum::routing::get(|| async { "admin" }))
    };
    let table = || {
        let open = Routes::builder().get("/public/{*rest}", ()).public();
        open.get("/admin/{*rest}", ()).require("orders:read").build().unwrap()
    };
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(table().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    let by_hand = ServiceBuilder::new()
        .layer(EdgeLayer::default())
        .layer(table().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
    for app in [router().layer(stack), router().layer(by_hand)] {
        let client = TestClient::new(app);
        for path in ["/admin/../public/x", "/admin/%2e%2e/public/x", "/public/%78"] {
            client.get(path).send().await.assert_problem("target-invalid");
        }
        assert_eq!(client.get("/public/x").send().await.text(), "public");
        client.get("/admin/x").send().await.assert_status(403);
    }
}

#[tokio::test]
async fn a_stack_used_as_a_plain_layer_fails_closed_where_it_could_not_fail_at_start() {
    let routes =
        Routes::builder().get("/", ()).public().limit("nobody-defines-it").build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer());
    let leaf =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let client = TestClient::new(Layer::layer(&stack, leaf));
    client.get("/").send().await.assert_problem("configuration-invalid");
}

#[test]
fn what_types_cannot_see_is_told_at_start_all_of_it() {
    let api = Guarded::new()
        .route("/a", get(|| async {}), require("order:read"))
        .route("/b", get(|| async {}), policy("four-eyes"))
        .route("/c", get(|| async {}), public().limit("serach"))
        .route("/d/../e", get(|| async {}), public())
        .route("/f/**", get(|| async {}), public())
        .route("/g/{x}", get(|| async {}), public())
        .route("/g/{y}", post(|| async {}), public())
        .route("/h", get(|| async {}).get(|| async {}), public())
        .route("/i", get(|| async {}), public())
        .route("/i", get(|| async {}), public())
        .route("j", get(|| async {}), public())
        .nest("/k/", axum::Router::new(), public())
        .route(
            "/l",
            get(|| async {}),
            require("orders:read").cached_as(Cached::new().scope(Scope::Public)),
        )
        .route("/m", get(|| async {}), public().cached_as(Cached::new().purges()));
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(
            RateLimitLayer::before_authentication()
                .quota("search", per_minute(1))
                .everywhere(per_minute(1).by(Key::Identity)),
        )
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(CacheLayer::in_memory(1 << 20));
    let errors = stack.around(api).unwrap_err();
    let text = errors.to_string();
    for wanted in [
        "route `GET /a`: no role grants the permission `order:read`",
        "route `GET /b`: no policy is called `four-eyes`",
        "route `GET /c`: no limit is called `serach` (defined: `search`)",
        "route `GET /d/../e`: the template can match no request",
        "route `GET /f/**`: `*` and `:` match only themselves",
        "route `/g/{y}`: it matches the same paths as `/g/{x}`",
        "route `/h`: GET is said twice",
        "route `GET /i`: `GET /i` has a route already",
        "route `GET j`: a template begins with `/`",
        "nest `/k/`: a prefix begins with `/`, does not end with one",
        "it asks who is calling, but stands before authentication",
        "route `GET /l`: its answers would be everybody's, and the route is not public",
        "route `GET /m`: anybody could take things out of the cache",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
}

#[test]
fn the_route_layer_of_another_table_and_an_option_nobody_reads_are_errors() {
    let (mine, other) = (api(), api());
    let stack = |layer| {
        Stack::new()
            .layer(EdgeLayer::default())
            .layer(layer)
            .layer(AuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles()))
    };
    let text = stack(other.route_layer()).around(mine).unwrap_err().to_string();
    assert!(text.contains("the route layer belongs to another table"), "{text}");

    for (rule, option) in [(public().limit("x"), "limit"), (public().cached(), "cache")] {
        let api = Guarded::new().route("/", get(|| async {}), rule);
        let stack = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer());
        let text = stack.around(api).unwrap_err().to_string();
        let wanted = format!("route `GET /`: no layer of the stack reads its `{option}` option");
        assert!(text.contains(&wanted), "{text}");
    }
}

#[tokio::test]
async fn two_authentication_layers_are_a_conflict_not_a_choice() {
    let two = ServiceBuilder::new().layer(AuthenticateLayer::new()).layer(AuthenticateLayer::new());
    let leaf = service_fn(|mut request: Request<Body>| async move {
        let known = matches!(Context::of(&mut request).auth(), Some(AuthState::Authenticated(_)));
        Ok::<_, Infallible>(Response::new(Body::from(known.to_string())))
    });
    TestClient::new(two.service(leaf)).get("/").send().await.assert_problem("context-conflict");
}

/// An issuer whose name is misspelled would let nobody in, and scopes of a public route everybody.
#[test]
fn issuers_that_nobody_is_and_scopes_of_nobody_are_told_at_start() {
    let keys = ApiKeys::new().key(ApiKey::new("ci", "k-7f3a9c"));
    let api = Guarded::new()
        .route("/a", get(|| async {}), authenticated().issuer(ApiKeys::ISSUER))
        .route("/b", get(|| async {}), authenticated().issuer("api_key").issuer("api-key"))
        .route("/c", get(|| async {}), authenticated().issuer("https://id.exampel"))
        .route("/d", get(|| async {}), public().restricted().scope("admin"));
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().api_keys(keys))
        .layer(AuthorizeLayer::new(roles()));
    let Err(errors) = stack.around(api) else { panic!("it started") };
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("route `GET /b`: it takes callers of `api_key`, which nobody"));
    assert!(told[1].starts_with("route `GET /c`: it takes callers of `https://id.exampel`"));
    assert!(told[2].starts_with("route `GET /d`: it is public, so nobody's credentials"));
}
