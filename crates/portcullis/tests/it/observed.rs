//! Refused, failed, panicking and dropped requests of the whole stack stand in the log and in the metrics, with route,
//! identity key, decision and cause.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use http::Request;
use portcullis::axum::{Guarded, Problem, get};
use portcullis::prelude::*;
use portcullis::problem::kinds::INTERNAL_ERROR;
use portcullis::telemetry::Metrics;
use portcullis::{Body, ProblemKind};
use tower::{Service, ServiceExt};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context as SubscriberContext, SubscriberExt};

/// The lines of the access log, as field and text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: SubscriberContext<'_, S>) {
        if event.metadata().target() == "portcullis::access" {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

#[derive(Default)]
struct Line(BTreeMap<String, String>);
impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

const GONE: ProblemKind =
    ProblemKind::new("https://shop.example/gone", http::StatusCode::GONE, "Gone");

fn stack(
    metrics: Metrics,
) -> impl Service<
    Request<Body>,
    Response = http::Response<axum::body::Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    async fn panics() -> &'static str {
        panic!("out of ink")
    }
    let rule = || require("orders:read");
    let api = Guarded::new()
        .route("/ok", get(|| async { "ok" }), rule())
        .route("/limited", get(|| async { "ok" }), rule().limit("one"))
        .route("/secret", get(|| async { "ok" }), require("orders:audit"))
        .route("/panics", get(panics), rule())
        .route("/hangs", get(std::future::pending::<&'static str>), rule())
        .route(
            "/fails",
            get(|| async { Problem::new(INTERNAL_ERROR).cause("the disk is full") }),
            rule(),
        )
        .route("/gone", get(|| async { Problem::new(GONE) }), rule());
    let roles = Roles::builder()
        .role("clerk")
        .permits("orders:read")
        .role("auditor")
        .permits("orders:audit");
    let key = ApiKey::new("carl", "k-carl").tenant("acme").role("clerk");
    Stack::new()
        .layer(ObserveLayer::default().metrics(metrics))
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().api_keys(ApiKeys::new().key(key)))
        .layer(RateLimitLayer::in_memory().quota("one", per_hour(1).by(Key::Identity)))
        .layer(AuthorizeLayer::new(roles.build().unwrap()))
        .around(api)
        .unwrap()
}

/// What each request leaves: path, key, times; then route, identity, decision, problem, cause, status, outcome.
type Row = (&'static str, &'static str, u32, [&'static str; 7]);

const CARL: &str = "api-key|acme|carl";
const GRANTED: &str = "allow: permission-granted";
const ROWS: [Row; 11] = [
    ("/ok", "k-carl", 1, ["/ok", CARL, GRANTED, "", "", "200", "complete"]),
    (
        "/ok",
        "",
        1,
        ["/ok", "", "deny: not-authenticated", "authentication-required", "", "401", "complete"],
    ),
    (
        "/ok",
        "guessed",
        1,
        ["/ok", "", "", "credentials-invalid", "an unknown key", "401", "complete"],
    ),
    (
        "/secret",
        "k-carl",
        1,
        ["/secret", CARL, "deny: permission-missing", "permission-denied", "", "403", "complete"],
    ),
    (
        "/limited",
        "k-carl",
        2,
        ["/limited", CARL, "", "quota-exceeded", "over the quota `one`", "429", "complete"],
    ),
    (
        "/panics",
        "k-carl",
        1,
        ["/panics", CARL, GRANTED, "internal-error", "panicked: out of ink", "500", "panicked"],
    ),
    (
        "/fails",
        "k-carl",
        1,
        ["/fails", CARL, GRANTED, "internal-error", "the disk is full", "500", "complete"],
    ),
    (
        "/gone",
        "k-carl",
        1,
        ["/gone", CARL, GRANTED, "https://shop.example/gone", "", "410", "complete"],
    ),
    ("/hangs", "k-carl", 1, ["/hangs", CARL, GRANTED, "", "", "499", "cancelled"]),
    ("/a%2fb", "k-carl", 1, ["", "", "", "target-invalid", "", "400", "complete"]),
    ("/nowhere", "k-carl", 1, ["", "", "", "route-not-found", "", "404", "complete"]),
];

#[tokio::test]
async fn every_request_leaves_its_route_identity_decision_and_cause() {
    let metrics = Metrics::default();
    let stack = stack(metrics.clone());
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let mut counted = BTreeMap::new();
    for (path, key, times, want) in ROWS {
        for _ in 0..times {
            let mut request = Request::get(path).header("host", "shop.example");
            if !key.is_empty() {
                request = request.header("x-api-key", key);
            }
            let mut call = Box::pin(stack.clone().oneshot(request.body(Body::empty()).unwrap()));
            // A request that hangs is dropped by its client.
            if let std::task::Poll::Ready(answer) = futures_poll(call.as_mut()).await {
                let body = answer.unwrap().into_body();
                drop(axum::body::to_bytes(body, 10_000).await.unwrap());
            }
        }
        let line = log.0.lock().unwrap().last().cloned().unwrap();
        let field = |name: &str| line.get(name).map_or("", String::as_str).to_owned();
        let found = [
            "http.route",
            "enduser.id",
            "decision",
            "problem",
            "cause",
            "http.response.status_code",
            "outcome",
        ]
        .map(field);
        assert_eq!(found, want, "{path} {key}: {line:?}");

        let [route, _, decision, problem, _, status, outcome] = want;
        let seen = counted.entry((route, status)).and_modify(|seen| *seen += 1).or_insert(1);
        let text = metrics.render();
        let count = format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"GET\",http_route=\"{route}\",\
             http_response_status_code=\"{status}\",outcome=\"{outcome}\"}} {seen}\n"
        );
        assert!(text.contains(&count), "no {count} in\n{text}");
        if !problem.is_empty() && !problem.contains(':') {
            let count = format!(
                "portcullis_problems_total{{http_route=\"{route}\",problem=\"{problem}\"}} 1\n"
            );
            assert!(text.contains(&count), "no {count} in\n{text}");
        }
        if let Some((verdict, _)) = decision.split_once(':') {
            let count = format!(
                "portcullis_decisions_total{{http_route=\"{route}\",verdict=\"{verdict}\"}} "
            );
            assert!(text.contains(&count), "no {count} in\n{text}");
        }
    }
    assert!(metrics.render().contains("http_server_active_requests 0\n"));
}

/// One poll: what is not ready then is dropped.
async fn futures_poll<F: Future>(mut call: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await
}
