//! A CORS preflight travels under the route that it asks about, as far as somebody who answers it.
use std::task::{Context as Cx, Poll};

use http::{Method, Request, Response};
use portcullis_core::{Body, Context, EdgeLayer, Refusable, Routes, Stack, route, stage};
use portcullis_testkit::TestClient;
use tower::{Layer, Service};

use crate::support::{Decide, Endpoint, NAME, named};

/// Answers every preflight with the methods of the route that it travels under.
#[derive(Clone, Copy)]
struct CorsLayer;
#[derive(Clone)]
struct Cors<S>(S);

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;
    fn layer(&self, inner: S) -> Cors<S> {
        Cors(inner)
    }
}

impl<S, B> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Refusable<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.method() != Method::OPTIONS {
            return Refusable::calling(self.0.call(request));
        }
        let context = Context::of(&mut request);
        let route = context.route().expect("the route that is asked about");
        let answer = Response::builder()
            .status(204)
            .header("access-control-allow-methods", route.methods().to_string())
            .body(Body::empty());
        Refusable::answered(answer.unwrap())
    }
}

fn routes() -> Routes<Endpoint, route::Restricted> {
    Routes::builder()
        .get("/orders", named("list"))
        .public()
        .post("/orders", named("order"))
        .require("orders:write")
        .any("/hook", named("hook"))
        .public()
        .get("/own", named("own"))
        .public()
        .on(Method::OPTIONS, "/own", named("own OPTIONS"))
        .require("options")
        .build()
        .unwrap()
}

const ASK: &str = "access-control-request-method";

#[tokio::test]
async fn a_layer_at_stage_answer_answers_it_before_anybody_asks_who_is_calling() {
    let routes = routes();
    let stack = Stack::new()
        .layer(EdgeLayer::new())
        .layer(routes.layer())
        .at(stage::Answer, CorsLayer)
        .layer(Decide::Nothing);
    let client = TestClient::new(stack.around(routes).unwrap()).allow_header(NAME);
    for (path, asked, want) in [
        ("/orders", "GET", "GET"),
        ("/orders", "HEAD", "GET"),
        ("/orders", "POST", "POST"),
        ("/hook", "PURGE", "*"),
        // A route for OPTIONS itself is the one that is called, so it is the one that is decided about.
        ("/own", "GET", "OPTIONS"),
    ] {
        let request = client.options(path).header("origin", "https://shop.example");
        let answer = request.header(ASK, asked).send().await;
        answer.assert_status(204);
        assert_eq!(answer.header("access-control-allow-methods"), Some(want), "{asked} {path}");
        assert_eq!(answer.header(NAME), None, "{asked} {path}");
    }
}

#[tokio::test]
async fn what_is_no_preflight_or_asks_for_nothing_is_answered_as_ever() {
    let routes = routes();
    let stack = Stack::new()
        .layer(EdgeLayer::new())
        .layer(routes.layer())
        .at(stage::Answer, CorsLayer)
        .layer(Decide::Nothing);
    let client = TestClient::new(stack.around(routes).unwrap());
    let origin = ("origin", "https://shop.example");
    for (name, path, headers, status) in [
        ("no origin", "/orders", &[(ASK, "GET")] as &[_], 204),
        ("no method", "/orders", &[origin], 204),
        ("no method at all", "/orders", &[origin, (ASK, "")], 204),
        ("no word", "/orders", &[origin, (ASK, "G E T")], 204),
        ("another method", "/orders", &[origin, (ASK, "DELETE")], 405),
        ("another path", "/nothing", &[origin, (ASK, "GET")], 404),
    ] {
        let request = client.options(path);
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let answer = request.send().await;
        assert_eq!(answer.status(), status, "{name}");
        if status != 404 {
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS, POST"), "{name}");
        }
    }
}

#[tokio::test]
async fn nobody_answers_it_and_no_endpoint_is_called_for_it() {
    for decide in [Decide::Nothing, Decide::Allow] {
        let routes = routes();
        let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer()).layer(decide);
        let client = TestClient::new(stack.around(routes).unwrap()).allow_header(NAME);
        for (path, asked) in [("/orders", "GET"), ("/orders", "POST")] {
            let request = client.options(path).header("origin", "https://shop.example");
            let answer = request.header(ASK, asked).send().await;
            answer.assert_status(405).assert_problem("method-not-allowed");
            assert_eq!(answer.header(NAME), None, "{asked} {path}, {decide:?}");
        }
        // A route for every method answers OPTIONS by itself.
        let request = client.options("/hook").header("origin", "https://shop.example");
        assert_eq!(request.header(ASK, "PUT").send().await.header(NAME), Some("hook"));
        // A preflight that asks about the OPTIONS route itself is decided about as that.
        let request = client.options("/own").header("origin", "https://shop.example");
        let answer = request.header(ASK, "OPTIONS").send().await;
        let allowed = matches!(decide, Decide::Allow);
        assert_eq!(answer.header(NAME), allowed.then_some("own OPTIONS"));
    }
}
