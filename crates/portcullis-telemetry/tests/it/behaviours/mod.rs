//! One row per way in which a request can go: what the log says, and what the metrics say.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use http::{Request, Response};
use http_body::Body as _;
use portcullis_core::problem::kinds;
use portcullis_core::{
    AuthState, Body, Context, Decision, EdgeLayer, Identity, Requirement, Routes,
};
use portcullis_telemetry::ObserveLayer;
use tower::{Layer, Service, service_fn};

use super::exposition::Samples;
use super::support::{FakeTime, Log, Script, Step, poll_once};

mod rows;

use rows::{Client, Row};

#[test]
fn every_way_is_told_once_in_the_log_and_once_in_the_metrics() {
    for row in rows::answered().into_iter().chain(rows::refusals()).chain(rows::faults()) {
        check(&row);
    }
}

fn check(row: &Row) {
    let name = row.name;
    let (log, time, layer) = (Log::default(), FakeTime::new(), ObserveLayer::default());
    let metrics = layer.metrics_handle();
    let active = || Samples::read(&metrics.render()).sum("http_server_active_requests", &[]);
    let leaf = {
        let (inner, verdict, time) = (row.inner, row.verdict, time.clone());
        service_fn(move |mut request: Request<Body>| {
            let context = Context::of(&mut request);
            let ada = Identity::builder("https://id", "ada").tenant("acme").build();
            context.set_auth(AuthState::Authenticated(ada));
            let rule = Requirement::Permission("orders:write".into());
            context.set_decision(Decision::new(verdict, context.route().cloned(), rule, "by role"));
            inner(context, time.clone())
        })
    };
    let routes = Routes::builder()
        .get("/orders/{id}", ())
        .require("orders:write")
        .post("/orders/{id}", ())
        .require("orders:write")
        .build()
        .unwrap();
    let service = layer.clock(time.clock()).layer(routes.layer().layer(leaf));
    let seen = log.during(|| {
        let seen = act(service, request(row.request), row.client, &active);
        assert_eq!(seen.wire, row.wire, "{name}");
        seen
    });
    check_log(row, &log, &seen);
    check_metrics(row, &Samples::read(&metrics.render()));
}

fn request(line: &str) -> Request<Body> {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request::builder().method(method).uri(target).header("host", "h");
    if words.next().is_some() {
        request = request.header("content-type", "application/grpc");
    }
    request.body(Body::empty()).unwrap()
}

/// What the client saw.
#[derive(Default)]
struct Seen {
    wire: Option<u16>,
    bytes: usize,
}

fn act<S>(mut service: S, request: Request<Body>, client: Client, active: &dyn Fn() -> i128) -> Seen
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let mut seen = Seen::default();
    assert_eq!(active(), 0);
    let mut call = Box::pin(service.call(request));
    if matches!(client, Client::LeavesAtOnce) {
        return seen;
    }
    let polled = poll_once(call.as_mut());
    if matches!(client, Client::LeavesBeforeTheHead) {
        assert!(polled.is_pending());
        assert_eq!(active(), 1);
        return seen;
    }
    let Poll::Ready(answer) = polled else { panic!("nothing waits") };
    let Ok(response) = answer else { return seen };
    drop(call);
    seen.wire = Some(response.status().as_u16());
    let mut frames = if let Client::LeavesInTheBody(frames) = client { frames } else { usize::MAX };
    // As a server: what polls a body that panics unwinds with the body in its hands.
    _ = catch_unwind(AssertUnwindSafe(|| {
        let mut body = Box::pin(response.into_body());
        while frames > 0 && !body.is_end_stream() {
            frames -= 1;
            let next = std::pin::pin!(std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)));
            let Poll::Ready(Some(Ok(frame))) = poll_once(next) else { break };
            seen.bytes += frame.data_ref().unwrap().len();
        }
    }));
    seen
}

#[test]
fn a_request_is_over_when_its_body_is() {
    let (log, time, layer) = (Log::default(), FakeTime::new(), ObserveLayer::new());
    let metrics = layer.metrics_handle();
    let active = || Samples::read(&metrics.render()).sum("http_server_active_requests", &[]);
    log.during(|| {
        let mut service = layer.layer(service_fn(|_: Request<()>| async {
            let body = Script::body(&time, [Step::Data("he"), Step::Data("llo")]);
            Ok::<_, std::convert::Infallible>(Response::new(body))
        }));
        let mut call = Box::pin(service.call(Request::new(())));
        let Poll::Ready(Ok(response)) = poll_once(call.as_mut()) else { panic!("nothing waits") };
        drop(call);
        assert_eq!((active(), log.access().len()), (1, 0));
        drop(response);
        assert_eq!((active(), log.access().len()), (0, 1));
    });
}

/// Says something when it is dropped.
struct LastWords(Context);
impl Drop for LastWords {
    fn drop(&mut self) {
        tracing::info!("last words");
        self.0.set_problem(kinds::INTERNAL_ERROR.into());
    }
}

fn is_send<T: Send>(_: T) {}

#[test]
fn what_a_dropped_call_still_says_is_heard() {
    let log = Log::default();
    log.during(|| {
        let mut service = ObserveLayer::new().layer(service_fn(|mut request: Request<Body>| {
            let words = LastWords(Context::of(&mut request));
            async move {
                std::future::pending::<()>().await;
                drop(words);
                Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
            }
        }));
        is_send(service.call(request("GET /")));
    });
    let events = log.events.lock().unwrap();
    assert_eq!(events[0].spans, ["request"]);
    assert_eq!(events[1].fields["problem"], "internal-error");
    assert_eq!(events.len(), 2);
}

#[test]
fn the_answer_to_a_panic_names_the_request() {
    let id = std::sync::Mutex::new(None);
    let leaf = service_fn(|mut request: Request<Body>| -> rows::Answer {
        *id.lock().unwrap() = Context::of(&mut request).request_id().cloned();
        panic!("boom")
    });
    let mut service = ObserveLayer::new().layer(EdgeLayer::new().layer(leaf));
    let mut call = Box::pin(service.call(request("GET /")));
    let Poll::Ready(Ok(response)) = poll_once(call.as_mut()) else { panic!("nothing waits") };
    let id = id.lock().unwrap().take().unwrap();
    assert_eq!(response.headers()["x-request-id"], id.as_str());
}

fn check_log(row: &Row, log: &Log, seen: &Seen) {
    let name = row.name;
    let lines = log.access();
    let [line] = &lines[..] else { panic!("{name}: one line a request, not {lines:?}") };
    assert_eq!(line.level, row.level, "{name}");
    let (method, target) = row.request.split_once(' ').unwrap();
    let path = target.split(['?', ' ']).next();
    let reached = !row.route.is_empty();
    let (status, verdict) = (row.status.to_string(), format!("{}: by role", row.verdict));
    for (field, want) in [
        ("http.request.method", Some(method)),
        ("url.path", path),
        ("http.route", Some(row.route)),
        ("http.response.status_code", Some(status.as_str())),
        ("enduser.id", reached.then_some("https://id|acme|ada")),
        ("decision", reached.then_some(verdict.as_str())),
        ("problem", row.problem),
        ("cause", row.cause),
        ("outcome", Some(row.outcome)),
        ("body.size", Some(seen.bytes.to_string().as_str())),
        ("duration_ms", Some(format!("{}.0", row.millis).as_str())),
    ] {
        assert_eq!(line.fields.get(field).map(String::as_str), want, "{name}: {field}");
    }
}

fn check_metrics(row: &Row, samples: &Samples) {
    const DURATION: &str = "http_server_request_duration_seconds";
    let (name, count) = (row.name, format!("{DURATION}_count"));
    let method = row.request.split(' ').next().unwrap();
    let status = row.status.to_string();
    let labels = [
        ("http_request_method", method),
        ("http_route", row.route),
        ("http_response_status_code", status.as_str()),
        ("outcome", row.outcome),
    ];
    assert_eq!(samples.sum(&count, &labels), 1, "{name}: {samples:?}");
    assert_eq!(samples.sum(&count, &[]), 1, "{name}");
    let nanos = i128::from(row.millis) * 1_000_000;
    assert_eq!(samples.billionths(&format!("{DURATION}_sum"), &labels), nanos, "{name}");
    let below = |bound: &str| samples.sum(&format!("{DURATION}_bucket"), &[("le", bound)]);
    for (bound, millis) in [("0.005", 5), ("0.025", 25), ("0.05", 50), ("0.075", 75)] {
        let want = i128::from(row.millis <= millis);
        assert_eq!(below(bound), want, "{name}: {bound}");
    }
    assert_eq!(samples.sum("http_server_active_requests", &[]), 0, "{name}");
    let verdict = (!row.route.is_empty()).then(|| row.verdict.as_str());
    for (counter, label, value) in [
        ("portcullis_problems_total", "problem", row.problem),
        ("portcullis_decisions_total", "verdict", verdict),
    ] {
        let want = i128::from(value.is_some());
        assert_eq!(samples.sum(counter, &[]), want, "{name}: {counter}");
        let labels = [("http_route", row.route), (label, value.unwrap_or_default())];
        assert_eq!(samples.sum(counter, &labels), want, "{name}: {counter}");
    }
}
