//! A problem that a handler answers.
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use portcullis_axum::{Guarded, Problem, get, post};
use portcullis_core::problem::Rendered;
use portcullis_core::{Context, EdgeLayer, ProblemKind, Stack, public};
use portcullis_testkit::TestClient;

use crate::support::{Decide, client};

const SOLD_OUT: ProblemKind =
    ProblemKind::new("https://shop.example/problems/sold-out", StatusCode::CONFLICT, "Sold out");

async fn book() -> Result<&'static str, Problem> {
    Err(Problem::new(SOLD_OUT)
        .detail("no copy of “Emma” is left")
        .member("wait", 7)
        .header(RETRY_AFTER, HeaderValue::from_static("60"))
        .cause("SELECT failed: password of db-17.internal"))
}

fn api() -> Guarded {
    let inner = axum::Router::new().route("/book", axum::routing::get(book));
    Guarded::new()
        .route("/book", get(book).post(book), public())
        .route("/kind", post(|| async { Problem::from(SOLD_OUT) }), public())
        .nest("/legacy", inner, public())
}

const PROBLEMS: &str = "https://shop.example/problems/";

#[tokio::test]
async fn it_gets_the_dialect_of_the_request_and_keeps_its_headers() {
    let client = client(api(), Decide::Nothing).allow_problems(PROBLEMS).allow_member("wait");
    for path in ["/book", "/legacy/book"] {
        for (accept, kind, begins) in [
            ("*/*", "application/problem+json", "{\"type\":\"https://shop.example/problems/"),
            ("application/json", "application/problem+json", "{\"type\":"),
            ("text/html,*/*", "text/html; charset=utf-8", "<!doctype html>"),
        ] {
            let answer = client.get(path).header("accept", accept).send().await;
            answer.assert_status(409).assert_problem(SOLD_OUT.slug());
            assert_eq!(answer.header("content-type"), Some(kind), "{path} {accept}");
            assert_eq!(answer.header("retry-after"), Some("60"), "{path} {accept}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path} {accept}");
            assert!(answer.text().starts_with(begins), "{path} {accept}: {}", answer.text());
            assert!(answer.text().contains("no copy of “Emma” is left"), "{path} {accept}");
            assert!(!answer.text().contains("db-17"), "{path} {accept}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_grpc_client_gets_a_status_without_a_body() {
    let client = client(api(), Decide::Nothing);
    let answer = client.post("/book").header("content-type", "application/grpc").send().await;
    answer.assert_status(200).assert_problem(SOLD_OUT.slug());
    assert_eq!(answer.header("grpc-status"), Some("10"));
    assert_eq!(answer.header("grpc-message"), Some("no copy of %E2%80%9CEmma%E2%80%9D is left"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.text(), "");
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_of_that_to_get() {
    let client = client(api(), Decide::Nothing).allow_problems(PROBLEMS).allow_member("wait");
    for accept in ["application/json", "text/html"] {
        let get = client.get("/book").header("accept", accept).send().await;
        let head = client.head("/book").header("accept", accept).send().await;
        head.assert_status(409).assert_problem(SOLD_OUT.slug());
        assert_eq!(head.text(), "");
        let length = head.header("content-length").unwrap();
        assert_eq!(length, get.bytes().len().to_string(), "{accept}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{accept}");
    }
}

#[tokio::test]
async fn the_application_shows_it_in_its_own_way() {
    let render = |problem: &portcullis_core::Problem, _: &Context| {
        let body = format!("<error>{}</error>", problem.kind().title());
        Some(Rendered::new(HeaderValue::from_static("text/xml"), body))
    };
    let api = api();
    let edge = EdgeLayer::new().render_problems(render);
    let app = Stack::new().layer(edge).layer(api.route_layer()).around(api).unwrap();
    let client = TestClient::new(app);
    let answer = client.get("/book").send().await;
    answer.assert_status(409);
    assert_eq!(answer.text(), "<error>Sold out</error>");
    assert_eq!(answer.header("content-type"), Some("text/xml"));
    assert_eq!(answer.header("retry-after"), Some("60"));
    let head = client.head("/book").send().await;
    assert_eq!(head.header("content-length"), Some("23"));
}

#[tokio::test]
async fn without_any_layer_it_is_json() {
    let client = TestClient::new(axum::Router::new().route("/book", axum::routing::get(book)));
    let client = client.allow_problems(PROBLEMS).allow_member("wait");
    let answer = client.get("/book").header("accept", "text/html").send().await;
    answer.assert_status(409).assert_problem(SOLD_OUT.slug());
    assert_eq!(answer.json_value()["wait"], 7);
    assert!(!answer.text().contains("db-17"));
}

#[test]
fn the_problem_inside_is_at_hand() {
    let problem = Problem::from(SOLD_OUT).detail("none").cause("a reason").into_inner();
    assert_eq!(problem.detail_text(), Some("none"));
    assert_eq!(problem.cause_error().unwrap().to_string(), "a reason");
    assert_eq!(Problem::from(problem).into_inner().kind(), SOLD_OUT);
}
