//! A stack as a whole: layers that may be absent, foreign layers, mistakes that types cannot see.
use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use portcullis_core::stack::{Optional, Plan, Staged};
use portcullis_core::{
    Body, ConfigError, Context, EdgeLayer, RouteOption, Routes, SecurityHeaders, Stack,
    WithOptions, stage,
};
use portcullis_testkit::{Contract, StubAuthenticateLayer, TestClient, as_user, get, read};
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Decide, NAME, named, telling, unreachable};

/// The option that [`Meter`] reads.
#[derive(Debug)]
struct Limit(&'static str);

impl RouteOption for Limit {
    const NAME: &'static str = "limit";
    fn names(&self) -> Vec<Arc<str>> {
        vec![self.0.into()]
    }
}

/// Reads the option `limit`, and knows these names; is the outermost that counts.
#[derive(Clone, Copy, Debug)]
struct Meter(&'static [&'static str]);

impl<S> Layer<S> for Meter {
    type Service = S;
    fn layer(&self, inner: S) -> S {
        inner
    }
}

impl Staged for Meter {
    type Stage = stage::PreLimit;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<Limit>(self.0.iter().map(|name| Arc::from(*name)));
        if plan.table().is_none() {
            plan.errors([ConfigError::new("meter", "there are no routes in front of it")]);
        }
    }
}

#[tokio::test]
async fn a_layer_that_may_be_absent() {
    let user = |present: bool| present.then(|| as_user("alice"));
    for present in [true, false] {
        let who = telling(|context, _| {
            context.identity().map_or("nobody", |identity| identity.subject()).to_owned()
        });
        let stack = Stack::new().layer(EdgeLayer::new()).layer(user(present));
        let client = TestClient::new(stack.service(who).unwrap());
        let want = if present { "alice" } else { "nobody" };
        assert_eq!(client.get("/").send().await.text(), want);
    }
    let with = |edge: Option<EdgeLayer>| Stack::new().layer(edge).service(unreachable());
    let client = TestClient::new(with(Some(EdgeLayer::new())).unwrap());
    client.get("/a%2Fb").send().await.assert_problem("target-invalid");
    let client = TestClient::new(
        Stack::new().layer(None::<EdgeLayer>).service(telling(|_, r| r.uri().to_string())).unwrap(),
    );
    let answer = client.get("/a%2Fb").send().await;
    assert_eq!((answer.text(), answer.header("x-request-id")), ("/a%2Fb", None));
}

#[tokio::test]
async fn present_or_absent_it_keeps_the_contract_of_a_layer() {
    let optional = |edge| -> Optional<EdgeLayer> {
        portcullis_core::stack::IntoStaged::<portcullis_core::stack::Maybe>::into_staged(edge)
    };
    let contract = Contract::new(optional(Some(EdgeLayer::new())));
    let contract = contract.refuses(|| get("/books%2F7").build());
    contract.passes(|| get("/books/7").build()).check().await;
    Contract::new(optional(None)).passes(|| get("/books%2F7").build()).check().await;
}

#[test]
fn an_absent_layer_checks_nothing() {
    let stack = |meter: Option<Meter>| {
        let routes = Routes::builder().get("/", ()).public().with_option(Limit("a"));
        let routes = routes.build().unwrap();
        let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).layer(meter);
        stack.service(()).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(stack(Some(Meter(&["a"]))), Ok(()));
    let unread = "route `GET /`: no layer of the stack reads its `limit` option: add the layer that reads it, or drop the option";
    assert_eq!(stack(None), Err(unread.to_owned()));
}

#[tokio::test]
async fn foreign_layers_stand_where_they_are_put() {
    let mark = |name: &'static str| {
        MapRequestLayer::new(move |mut request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let known = Context::of(&mut request).route().is_some();
            request
                .headers_mut()
                .append("x-seen", format!("{name} {path} {known}").parse().unwrap());
            request
        })
    };
    let routes = Routes::builder()
        .get(
            "/{*rest}",
            telling(|_, request| {
                let seen = request.headers().get_all("x-seen").iter();
                seen.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ")
            }),
        )
        .public()
        .build()
        .unwrap();
    let stack = Stack::new()
        .at(stage::Observe, mark("observe"))
        .layer(EdgeLayer::new())
        .at(stage::Shed, mark("shed"))
        .layer(routes.layer())
        .at(stage::Answer, mark("answer"))
        .at(stage::Answer, mark("answer again"))
        .at(stage::Inner, mark("inner"));
    let client = TestClient::new(stack.around(routes).unwrap());
    assert_eq!(
        client.get("/a/../b").send().await.text(),
        "observe /a/../b false, shed /b false, answer /b true, answer again /b true, inner /b true"
    );
}

#[tokio::test]
async fn a_foreign_layer_that_changes_the_target_is_found_out_by_the_leaf() {
    let stack = |to: &'static str| {
        let turn = MapRequestLayer::new(move |mut request: Request<Body>| {
            *request.uri_mut() = to.parse().unwrap();
            request
        });
        Stack::new().layer(EdgeLayer::new()).at(stage::Inner, turn)
    };
    let client = TestClient::new(stack("/admin").service(unreachable()).unwrap());
    client.get("/public").send().await.assert_status(500).assert_problem("target-changed");
    let client = TestClient::new(stack("/public").service(telling(|_, _| String::new())).unwrap());
    client.get("/public").send().await.assert_status(200);
}

#[test]
fn a_cloned_stack_goes_on_in_two_ways_that_know_nothing_of_each_other() {
    let routes = Routes::builder().get("/", ()).public().with_option(Limit("a")).build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    let (good, bad, none) = (stack.clone(), stack.clone(), stack);
    let good = good.layer(Meter(&["a", "b"]));
    let bad = bad.layer(Meter(&["b", "c"]));
    let told = |result: Result<_, portcullis_core::ConfigErrors>| result.unwrap_err().to_string();
    assert_eq!(
        told(bad.service(()).map(drop)),
        "route `GET /`: no limit is called `a` (defined: `b`, `c`)"
    );
    assert!(told(none.service(()).map(drop)).contains("no layer of the stack reads its `limit`"));
    good.service(()).map(drop).unwrap();

    let alone = Stack::new().layer(EdgeLayer::new());
    let (wrong, right) = (alone.clone().layer(Meter(&[])), alone);
    assert_eq!(told(wrong.service(()).map(drop)), "meter: there are no routes in front of it");
    right.service(()).map(drop).unwrap();
}

#[test]
fn names_that_several_layers_define_add_up_and_all_that_is_wrong_is_told_at_once() {
    let routes = Routes::builder()
        .get("/a", ())
        .public()
        .with_option(Limit("x"))
        .get("/b", ())
        .public()
        .with_option(Limit("y"))
        .build()
        .unwrap();
    let stack = || Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    stack().layer(Meter(&["x"])).layer(Meter(&["y"])).service(()).map(drop).unwrap();
    let text = stack().layer(Meter(&[])).service(()).map(drop).unwrap_err().to_string();
    for wanted in [
        "2 errors:",
        "route `GET /a`: no limit is called `x` (defined: there is none)",
        "route `GET /b`: no limit is called `y` (defined: there is none)",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in {text}");
    }
}

#[tokio::test]
async fn as_a_plain_layer_it_is_the_same_stack() {
    let routes = Routes::builder()
        .get("/open", ())
        .public()
        .get("/mine", ())
        .authenticated()
        .build()
        .unwrap();
    for (decide, status) in [(Decide::Allow, 200), (Decide::Nothing, 500)] {
        let stack = Stack::new()
            .layer(EdgeLayer::new())
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(decide);
        let client = TestClient::new(Layer::layer(&stack, named("leaf"))).allow_header(NAME);
        assert_eq!(client.get("/open").send().await.header(NAME), Some("leaf"));
        assert_eq!(client.get("/mine").send().await.status(), status);
        client.get("/nothing").send().await.assert_problem("route-not-found");
    }
}

#[tokio::test]
async fn as_a_plain_layer_with_mistakes_it_refuses_everything() {
    let routes = Routes::builder().get("/", ()).public().with_option(Limit("a")).build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    let client = TestClient::new(Layer::layer(&stack, unreachable()));
    client.get("/").send().await.assert_status(500).assert_problem("configuration-invalid");
    client.get("/nothing").send().await.assert_problem("route-not-found");
}

#[test]
fn the_route_layer_and_the_endpoints_belong_to_one_table() {
    let build = || Routes::builder().get("/", ()).public().build().unwrap();
    let (mine, other) = (build(), build());
    let stack = Stack::new().layer(EdgeLayer::new()).layer(other.layer());
    let text = stack.clone().around(mine).map(drop).unwrap_err().to_string();
    assert!(text.contains("the route layer belongs to another table"), "{text}");
    stack.around(other).map(drop).unwrap();
}

#[tokio::test]
async fn the_error_of_the_application_passes_through_all_layers() {
    let fails = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("broken"));
    let stack = Stack::new()
        .layer(EdgeLayer::new())
        .layer(None::<StubAuthenticateLayer>)
        .at(stage::Inner, MapResponseLayer::new(|response: Response<Body>| response));
    let service = stack.service(fails).unwrap();
    assert_eq!(service.oneshot(get("/").build()).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn an_empty_stack_is_its_application() {
    let service = Stack::default().service(named("alone")).unwrap();
    let answer = service.oneshot(get("/a//b").build()).await.unwrap();
    assert_eq!(answer.headers()[NAME], "alone");
    let edge = EdgeLayer::default().security_headers(SecurityHeaders::none());
    let service = Stack::new().layer(edge).service(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from("only the request id")))
    }));
    let answer = service.unwrap().oneshot(get("/").build()).await.unwrap();
    assert_eq!(answer.headers().keys().collect::<Vec<_>>(), ["x-request-id"]);
    assert_eq!(read(answer).await, "only the request id");
}
