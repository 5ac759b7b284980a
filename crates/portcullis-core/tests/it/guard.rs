//! The last look before the endpoint.
use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};
use portcullis_core::route::{CatchAll, GuardLayer, TableBuilder, adopt_problem};
use portcullis_core::{
    Body, ConfigError, Context, Decision, Problem, ProblemKind, RouteExt, RouteTable, Scheme,
    Target, TargetRules, Verdict, authenticated, problem::kinds, public, require,
};
use portcullis_testkit::{Contract, get, read, request};
use tower::{Layer, ServiceExt, service_fn};

/// Public, for everybody who says who they are, and by permission; in this order.
fn table() -> Arc<RouteTable> {
    let mut table = TableBuilder::new(CatchAll::Bare);
    table.add("/public", Method::GET, public());
    table.add("/mine", Method::GET, authenticated());
    table.add("/orders", Method::POST, require("orders:write"));
    table.build()
}

/// A GET request for `path`, of which the layers so far have said that the target is `target`.
fn checked(path: &str, target: &str) -> Request<Body> {
    let mut request = get(path).build();
    let checked = get(target).build();
    let checked = Target::of(&checked, Scheme::Http, None, &TargetRules::strict()).unwrap();
    Context::of(&mut request).set_target(checked);
    request
}

fn slug(objection: Option<Problem>) -> &'static str {
    objection.map_or("none", |problem| problem.kind().slug())
}

#[test]
fn it_wants_an_allowing_decision_for_the_very_route_of_the_very_table() {
    let (this, that) = (table(), table());
    let route = |table: &Arc<RouteTable>, index| table.route(index).unwrap();
    let (open, mine) = (route(&this, 0), route(&this, 1));
    let allow = Verdict::Allow;
    let missing = "authorization-missing";
    for (name, guarded, matched, decided, want) in [
        ("public, and nobody knows anything", &open, None, None, "none"),
        ("public, matched", &open, Some(&open), None, "none"),
        ("public, and denied", &open, Some(&open), Some((Verdict::Deny, Some(&open))), "none"),
        ("nothing known", &mine, None, None, missing),
        ("matched only", &mine, Some(&mine), None, missing),
        ("decided only", &mine, None, Some((allow, Some(&mine))), missing),
        ("allowed", &mine, Some(&mine), Some((allow, Some(&mine))), "none"),
        ("denied", &mine, Some(&mine), Some((Verdict::Deny, Some(&mine))), missing),
        ("stepped up", &mine, Some(&mine), Some((Verdict::StepUp, Some(&mine))), missing),
        ("unknown", &mine, Some(&mine), Some((Verdict::Indeterminate, Some(&mine))), missing),
        ("another route was allowed", &mine, Some(&mine), Some((allow, Some(&open))), missing),
        ("another was matched", &mine, Some(&open), Some((allow, Some(&mine))), missing),
        (
            "another was matched and allowed",
            &mine,
            Some(&open),
            Some((allow, Some(&open))),
            missing,
        ),
        (
            "another table was matched",
            &mine,
            Some(&route(&that, 1)),
            Some((allow, Some(&mine))),
            missing,
        ),
        (
            "another table was allowed",
            &mine,
            Some(&mine),
            Some((allow, Some(&route(&that, 1)))),
            missing,
        ),
        ("no route was allowed", &mine, Some(&mine), Some((allow, None)), missing),
    ] {
        let mut request = get("/mine").build();
        let context = Context::of(&mut request);
        if let Some(matched) = matched {
            context.set_route(matched.clone());
        }
        if let Some((verdict, route)) = decided {
            let rule = mine.access().requirement().clone();
            context.set_decision(Decision::new(verdict, route.cloned(), rule, "test"));
        }
        let found = slug(GuardLayer::route(guarded.clone()).objection(&request));
        assert_eq!(found, want, "{name}");
        // Before a whole table, what was matched is what is guarded.
        if matched.is_none_or(|matched| matched == guarded) {
            let unmatched = if matched.is_none() { missing } else { want };
            let found = slug(GuardLayer::table(Arc::clone(&this)).objection(&request));
            assert_eq!(found, unmatched, "{name}, before the table");
        }
        // Without a table only the target is looked at.
        assert_eq!(slug(GuardLayer::service().objection(&request)), "none", "{name}");
    }
    let nobody = get("/public").build();
    assert_eq!(slug(GuardLayer::route(open).objection(&nobody)), "none");
    assert_eq!(slug(GuardLayer::route(mine).objection(&nobody)), missing);
    assert_eq!(slug(GuardLayer::table(this).objection(&nobody)), missing);
    assert_eq!(slug(GuardLayer::service().objection(&nobody)), "none");
}

#[test]
fn a_public_route_that_is_open_only_to_some_networks_wants_a_route_layer() {
    let networks = ["10.0.0.0/8".parse().unwrap()];
    let mut table = TableBuilder::new(CatchAll::Bare);
    table.add("/everybody", Method::GET, public().body_limit(1));
    table.add("/some", Method::GET, public().only_from(networks));
    let table = table.build();
    for (index, matched, want) in [
        (0, false, "none"),
        (0, true, "none"),
        (1, false, "authorization-missing"),
        (1, true, "none"),
    ] {
        let route = table.route(index).unwrap();
        let mut request = get("/").build();
        if matched {
            Context::of(&mut request).set_route(route.clone());
        }
        assert_eq!(
            slug(GuardLayer::route(route.clone()).objection(&request)),
            want,
            "{route} {matched}"
        );
    }
}

#[test]
fn a_method_that_the_route_has_not_does_not_reach_it() {
    let table = table();
    for (index, method, want) in [
        (0, Method::GET, "none"),
        (0, Method::HEAD, "none"),
        (0, Method::OPTIONS, "method-not-allowed"),
        (0, Method::POST, "method-not-allowed"),
        (2, Method::POST, "none"),
        (2, Method::GET, "method-not-allowed"),
        (2, Method::HEAD, "method-not-allowed"),
    ] {
        let route = table.route(index).unwrap();
        let mut request = request(method.clone(), "/").build();
        let context = Context::of(&mut request);
        let rule = route.access().requirement().clone();
        context.set_decision(Decision::new(Verdict::Allow, Some(route.clone()), rule, "test"));
        context.set_route(route.clone());
        for guard in [GuardLayer::table(Arc::clone(&table)), GuardLayer::route(route.clone())] {
            assert_eq!(slug(guard.objection(&request)), want, "{method} for {route}");
        }
    }
}

#[test]
fn the_target_is_the_one_that_was_checked() {
    for (path, target, same) in [
        ("/books/7", "/books/7", true),
        ("/books/7?x=1", "/books/7?x=1", true),
        ("http://test.example/books/7", "/books/7", true),
        ("/books/7", "/books/8", false),
        ("/books/7/", "/books/7", false),
        ("/books/7?x=1", "/books/7", false),
        ("/books/7", "/books/7?x=1", false),
        ("/books/7?x=2", "/books/7?x=1", false),
        // What was sent is not what was checked: nobody rewrote it.
        ("/books/%37", "/books/%37", false),
        ("/a/../books/7", "/a/../books/7", false),
    ] {
        let want = if same { "none" } else { "target-changed" };
        let request = checked(path, target);
        assert_eq!(slug(GuardLayer::service().objection(&request)), want, "{path} for {target}");
        let public = GuardLayer::route(table().route(0).unwrap());
        assert_eq!(slug(public.objection(&request)), want, "{path} for {target}, public");
    }
}

#[test]
fn behind_a_prefix_the_rest_of_the_target_is_compared() {
    let guard = GuardLayer::service().behind_prefix("/legacy");
    for (path, target, same) in [
        ("/books", "/legacy/books", true),
        ("/books?x", "/legacy/books?x", true),
        ("/", "/legacy/", true),
        ("/", "/legacy", true),
        ("/?x", "/legacy?x", true),
        ("/legacy/books", "/legacy/legacy/books", true),
        ("/books", "/legacy/films", false),
        ("/books", "/books", false),
        ("/legacy/books", "/legacy/books", false),
        ("/books?x", "/legacy/books", false),
        ("/books", "/legacy/books?x", false),
        ("/books", "/legacybooks", false),
        ("/books", "/old/books", false),
        ("/", "/legacy/books", false),
    ] {
        let found = slug(guard.objection(&checked(path, target)));
        let want = if same { "none" } else { "target-changed" };
        assert_eq!(found, want, "{path} for {target}");
    }
}

#[test]
fn a_stack_with_mistakes_lets_nothing_through_and_the_reason_is_for_the_log() {
    let guard = GuardLayer::invalid(ConfigError::new("stack", "two tables").into());
    let problem = guard.objection(&get("/").build()).unwrap();
    assert_eq!(problem.kind(), kinds::CONFIGURATION_INVALID);
    assert_eq!(problem.cause_error().unwrap().to_string(), "stack: two tables");
    assert_eq!(problem.detail_text(), None);
}

#[tokio::test]
async fn the_guard_keeps_the_contract_of_a_layer() {
    let table = table();
    let mine = table.route(1).unwrap();
    Contract::new(GuardLayer::route(table.route(0).unwrap()))
        .passes(|| checked("/public", "/public"))
        .refuses(|| checked("/public", "/other"))
        .check()
        .await;
    Contract::new(GuardLayer::table(Arc::clone(&table)))
        .passes(move || {
            let mut request = checked("/mine", "/mine");
            let context = Context::of(&mut request);
            let rule = mine.access().requirement().clone();
            context.set_decision(Decision::new(Verdict::Allow, Some(mine.clone()), rule, "test"));
            context.set_route(mine.clone());
            request
        })
        .refuses(|| checked("/mine", "/mine"))
        .check()
        .await;
}

const SOLD_OUT: ProblemKind = ProblemKind::new("sold-out", http::StatusCode::CONFLICT, "Sold out");

/// What an endpoint makes of a problem that has no context at hand, and the headers that it adds.
fn made_by_an_endpoint() -> Response<Body> {
    let mut response = Problem::new(SOLD_OUT).detail("no copy is left").into_response();
    let headers = response.headers_mut();
    headers.append("set-cookie", "a=1".parse().unwrap());
    headers.append("set-cookie", "b=2".parse().unwrap());
    headers.insert("cache-control", "private".parse().unwrap());
    response
}

#[tokio::test]
async fn a_problem_of_the_endpoint_gets_the_dialect_of_the_request() {
    let endpoint = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(made_by_an_endpoint()));
    let service = GuardLayer::service().layer(endpoint);
    for (method, name, value, kind, status, text) in [
        (Method::GET, "accept", "*/*", "application/problem+json", 409, "{\"type\":\"https://"),
        (Method::GET, "accept", "text/html", "text/html; charset=utf-8", 409, "<!doctype html>"),
        (Method::HEAD, "accept", "text/html", "text/html; charset=utf-8", 409, ""),
        (Method::POST, "content-type", "application/grpc", "application/grpc", 200, ""),
    ] {
        let mut request = request(method, "/").header(name, value).build();
        let context = Context::of(&mut request);
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{value}");
        assert_eq!(answer.headers()["content-type"], kind, "{value}");
        let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"], "{value}");
        assert_eq!(context.problem().unwrap().kind(), SOLD_OUT, "{value}");
        assert!(answer.extensions().get::<Problem>().is_some(), "{value}");
        let body = read(answer).await;
        assert!(body.starts_with(text) && body.is_empty() == text.is_empty(), "{value}: {body}");
    }
}

#[tokio::test]
async fn what_described_the_old_body_does_not_describe_the_new_one() {
    for (name, value) in [("accept", "text/html"), ("content-type", "application/grpc")] {
        let context = Context::of(&mut get("/").header(name, value).build());
        let mut response = made_by_an_endpoint();
        // As a framework does that knows how long its own body is, and a layer of its own that packs it.
        for (name, value) in
            [("content-length", "135"), ("content-encoding", "gzip"), ("etag", "\"135\"")]
        {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = adopt_problem(response, &context);
        let length = answer.headers().get("content-length").cloned();
        let kept = ["content-encoding", "etag"].map(|name| answer.headers().contains_key(name));
        let body = read(answer).await;
        assert_eq!(kept, [false, false], "{value}: {body}");
        let right = length.is_none_or(|length| length == body.len().to_string().as_str());
        assert!(right, "{value}: {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_problem_or_was_adopted_already_stays() {
    let html = || Context::of(&mut get("/").header("accept", "text/html").build());
    let plain = Response::builder().status(409).body(Body::from("plain")).unwrap();
    let answer = adopt_problem(plain, &html());
    assert_eq!((answer.status().as_u16(), read(answer).await.as_str()), (409, "plain"));

    let context = html();
    let first = Problem::new(kinds::INTERNAL_ERROR).respond(&context);
    let answer = adopt_problem(first, &context);
    assert!(read(answer).await.starts_with("<!doctype html>"));
    assert_eq!(context.problem().unwrap().kind(), kinds::INTERNAL_ERROR);

    // Nobody has seen the request: there is no dialect to put it in.
    let endpoint = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(made_by_an_endpoint()));
    let request = get("/").header("accept", "text/html").build();
    let answer = GuardLayer::service().layer(endpoint).oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}
