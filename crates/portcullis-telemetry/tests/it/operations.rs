//! What operators and load balancers are answered.
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use portcullis_core::{Body, Readiness};
use portcullis_telemetry::{Metrics, Operations};
use tower::{Service, ServiceExt};

async fn ask(operations: &Operations, method: &Method, uri: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    operations.clone().oneshot(request).await.unwrap()
}

async fn read(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A process that waits for keys and a database, and whose metrics have a source of their own.
fn waiting() -> (Operations, Readiness) {
    let readiness = Readiness::new();
    let metrics = Metrics::default().with_source(|out: &mut String| out.push_str("up 1"));
    (Operations::new().readiness(readiness.clone()).metrics(metrics), readiness)
}

const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PROBLEM: &str = "application/problem+json";

#[tokio::test]
async fn each_path_has_its_answer_and_no_cache_keeps_it() {
    let (operations, readiness) = waiting();
    let keys = readiness.expect("keys");
    let _database = readiness.expect("database");
    keys.not_ready("https://id.example/?token=s3cret answers 503");
    let (get, head, post) = (Method::GET, Method::HEAD, Method::POST);
    for (method, uri, status, kind, text) in [
        (&get, "/healthz", 200, PLAIN, Some("ok\n")),
        (&get, "http://127.0.0.1:9464/healthz?verbose", 200, PLAIN, Some("ok\n")),
        (&head, "/healthz", 200, PLAIN, None),
        (&get, "/readyz", 503, PLAIN, Some("not ready: keys, database\n")),
        (&head, "/readyz", 503, PLAIN, None),
        (&get, "/metrics", 200, METRICS, Some("up 1\n")),
        (&head, "/metrics", 200, METRICS, None),
        (&post, "/healthz", 405, PROBLEM, Some("method-not-allowed")),
        (&post, "/readyz", 405, PROBLEM, Some("method-not-allowed")),
        (&Method::OPTIONS, "/metrics", 405, PROBLEM, Some("method-not-allowed")),
        (&get, "/", 404, PROBLEM, Some("route-not-found")),
        (&get, "/healthz/", 404, PROBLEM, Some("route-not-found")),
        (&get, "/HEALTHZ", 404, PROBLEM, Some("route-not-found")),
        (&get, "//metrics", 404, PROBLEM, Some("route-not-found")),
        (&get, "/metrics/../readyz", 404, PROBLEM, Some("route-not-found")),
        (&post, "/reload", 404, PROBLEM, Some("route-not-found")),
        (&head, "/nothing", 404, PROBLEM, None),
    ] {
        let answer = ask(&operations, method, uri).await;
        let name = format!("{method} {uri}");
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.headers()["content-type"], kind, "{name}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{name}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{name}");
        let allow = answer.headers().get("allow").map(|allow| allow.to_str().unwrap());
        assert_eq!(allow, (status == 405).then_some("GET, HEAD"), "{name}");
        let got = ask(&operations, &get, uri).await;
        let length = answer.headers().get("content-length").cloned();
        let body = read(answer).await;
        if let Some(text) = text {
            assert!(body.contains(text), "{name}: {body}");
        } else {
            assert_eq!(body, "", "{name}");
            assert_eq!(length.unwrap(), read(got).await.len().to_string(), "{name}");
        }
        assert!(!body.contains("s3cret") && !body.contains("id.example"), "{name}: {body}");
    }
}

#[tokio::test]
async fn it_is_ready_when_what_it_waits_for_is_there_and_until_it_drains() {
    let (operations, readiness) = waiting();
    let keys = readiness.expect("keys");
    let asked = async || {
        let answer = ask(&operations, &Method::GET, "/readyz").await;
        (answer.status().as_u16(), read(answer).await)
    };
    let says = |status, text: &str| (status, format!("{text}\n"));
    assert_eq!(asked().await, says(503, "not ready: keys"));
    keys.ready();
    assert_eq!(asked().await, says(200, "ready"));
    readiness.drain();
    assert_eq!(asked().await, says(503, "not ready: draining"));
    // It lives all the same.
    assert_eq!(ask(&operations, &Method::GET, "/healthz").await.status(), 200);
}

#[tokio::test]
async fn without_readiness_and_metrics_it_says_that_it_lives() {
    let operations = Operations::new();
    for (uri, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 404)] {
        assert_eq!(ask(&operations, &Method::GET, uri).await.status(), status, "{uri}");
    }
}

#[test]
fn it_fits_every_server() {
    fn fits<S, B>(_: &S)
    where
        S: Service<Request<B>, Response = Response<Body>, Error = std::convert::Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
    }
    fits::<_, Body>(&Operations::new());
    fits::<_, String>(&Operations::new());
}

#[test]
fn sources_stand_behind_our_own_in_their_order_and_each_on_its_own_lines() {
    let metrics = Metrics::default();
    let clone = metrics.clone();
    let count = AtomicUsize::new(0);
    let metrics = metrics.with_source(move |out: &mut String| {
        write!(out, "scrapes {}", count.fetch_add(1, Ordering::SeqCst)).unwrap();
    });
    let metrics = metrics.with_source(|_: &mut String| {}).with_source(|out: &mut String| {
        out.push_str("last 1\n");
    });
    let own = Metrics::default().render();
    assert_eq!(metrics.render(), format!("{own}scrapes 0\nlast 1\n"));
    assert_eq!(clone.render(), format!("{own}scrapes 1\nlast 1\n"), "all clones show it");
}
