//! What the client says of answers.
use std::convert::Infallible;

use http::{Method, Request, Response, StatusCode};
use portcullis_core::problem::{REGISTRY, kinds};
use portcullis_core::{Body, Context, Problem, ProblemKind};
use portcullis_testkit::TestClient;
use serde_json::{Value, json};
use tower::service_fn;

use crate::support::panic_of;

type Headers<'a> = &'a [(&'a str, &'a str)];

/// What the client says of this answer to this method: the message of its panic, or `no panic`.
async fn said(method: Method, status: u16, headers: Headers<'_>, body: &str) -> String {
    panic_of(client(status, headers, body).request(method, "/books").send()).await
}

fn client(
    status: u16,
    headers: Headers<'_>,
    body: &str,
) -> TestClient<
    impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<>,
> {
    let (mut builder, body) = (Response::builder().status(status), body.to_owned());
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let head = builder.body(()).unwrap();
    TestClient::new(service_fn(move |_| {
        let answer = head.clone().map(|()| Body::from(body.clone()));
        async { Ok(answer) }
    }))
}

const PROBLEM: (&str, &str) = ("content-type", "application/problem+json");

fn problem(status: u16) -> Value {
    json!({ "type": format!("{REGISTRY}some-slug"), "title": "A problem", "status": status })
}

#[tokio::test]
async fn every_check_of_an_answer_can_fail() {
    let with = |status: u16, name: &str, value: Value| {
        let mut members = problem(status);
        members[name] = value;
        members.to_string()
    };
    let p = |status: u16| problem(status).to_string();
    let (get, head) = (Method::GET, Method::HEAD);
    let rows: [(&Method, u16, Headers<'_>, String, &str); 24] = [
        (&get, 200, &[("content-type", "text/plain")], "fine".into(), "no panic"),
        (
            &get,
            200,
            &[("x-powered-by", "us")],
            String::new(),
            "`x-powered-by` is not on the allow list",
        ),
        (&head, 200, &[], "fine".into(), "the answer to HEAD must have no body"),
        (&get, 204, &[], "fine".into(), "the answer to 204 must have no body"),
        (&get, 304, &[("content-length", "7")], String::new(), "no panic"),
        (&head, 200, &[("content-length", "7")], String::new(), "no panic"),
        (&get, 200, &[("content-length", "7")], "fine".into(), "the body has 4 bytes"),
        (&get, 404, &[PROBLEM], p(404), "no panic"),
        (&get, 404, &[("content-type", "text/plain")], "no".into(), "an error must be a problem"),
        (&get, 500, &[], String::new(), "an error must be a problem"),
        (&get, 200, &[PROBLEM], p(200), "a problem must have an error status"),
        (&get, 404, &[PROBLEM], "no".into(), "must be a JSON object"),
        (&head, 404, &[PROBLEM], String::new(), "no panic"),
        (&get, 404, &[PROBLEM], with(404, "type", json!(7)), "no `type`"),
        (&get, 404, &[PROBLEM], with(404, "type", json!("about:blank")), "not one of the registry"),
        (&get, 404, &[PROBLEM], with(404, "title", json!("")), "no `title`"),
        (&get, 404, &[PROBLEM], p(403), "`status` is 403, but the answer's is 404"),
        (
            &get,
            404,
            &[PROBLEM],
            with(404, "sql", json!("select")),
            "member `sql` is not on the allow list",
        ),
        (&get, 401, &[PROBLEM], p(401), "401 without `WWW-Authenticate`"),
        (&get, 405, &[PROBLEM], p(405), "405 without `Allow`"),
        (&get, 429, &[PROBLEM], p(429), "429 without `Retry-After`"),
        (&get, 429, &[PROBLEM, ("retry-after", "0")], p(429), "whole seconds, at least 1"),
        (&get, 429, &[PROBLEM, ("retry-after", "0.5")], p(429), "whole seconds, at least 1"),
        (&get, 429, &[PROBLEM, ("retry-after", "1")], p(429), "no panic"),
    ];
    for (method, status, headers, body, want) in rows {
        let message = said(method.clone(), status, headers, &body).await;
        assert!(
            message.contains(want),
            "{method} {status} {headers:?} {body}\nwant {want}: {message}"
        );
        if want != "no panic" {
            let begin = format!("{method} /books was answered {status}");
            assert!(message.starts_with(&begin) && message.contains("answers.rs"), "{message}");
        }
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let message = said(Method::HEAD, 500, &[("x-a", "1"), ("x-b", "2")], "no").await;
    assert_eq!(message.matches("\n- ").count(), 4, "{message}");
}

#[tokio::test]
async fn what_is_allowed_by_name_passes() {
    let own = "https://shop.example/problems/sold-out";
    let body = json!({ "type": own, "title": "Sold out", "status": 409, "left": 0 }).to_string();
    let client = client(409, &[PROBLEM, ("x-shop", "7")], &body);
    let client = client.allow_header("X-Shop").allow_member("left");
    let client = client.allow_problems("https://shop.example/problems/");
    client.get("/").send().await.assert_status(409).assert_problem(own);
}

#[tokio::test]
async fn foreign_errors_are_left_alone_but_problems_are_not() {
    client(401, &[], "who?").foreign_errors().get("/").send().await.assert_status(401);
    let body = problem(401).to_string();
    let message = panic_of(client(401, &[PROBLEM], &body).foreign_errors().get("/").send()).await;
    assert!(message.contains("401 without `WWW-Authenticate`"), "{message}");
}

const OWN: ProblemKind = ProblemKind::new("own", StatusCode::BAD_GATEWAY, "No upstream");

async fn answered_with(problem: Problem, accept: &'static str) -> String {
    let service = service_fn(move |mut request: Request<Body>| {
        let answer = problem.clone().respond(&Context::of(&mut request));
        async { Ok::<_, Infallible>(answer) }
    });
    let request = TestClient::new(service).get("/").header("accept", accept);
    panic_of(async {
        request.send().await.assert_problem("own");
    })
    .await
}

#[tokio::test]
async fn problems_in_any_dialect_are_known_and_must_not_tell_their_cause() {
    let cause = || std::io::Error::other("connection to 10.0.0.7 refused");
    for accept in ["application/json", "text/html"] {
        let sound = Problem::new(OWN).cause(cause()).detail("try again later");
        assert_eq!(answered_with(sound, accept).await, "no panic");
        let leaking = Problem::new(OWN).cause(cause()).detail(format!("because: {}", cause()));
        let message = answered_with(leaking, accept).await;
        assert!(
            message.contains("tells the client its cause: `connection to 10.0.0.7"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_problem_that_is_not_the_one_that_was_made_is_found() {
    let service = service_fn(async |_: Request<Body>| {
        let mut answer = Problem::new(kinds::ROUTE_NOT_FOUND).into_response();
        *answer.body_mut() = problem(404).to_string().into();
        Ok::<_, Infallible>(answer)
    });
    let message = panic_of(TestClient::new(service).get("/").send()).await;
    assert!(message.contains("but it was made as `route-not-found`"), "{message}");
}
