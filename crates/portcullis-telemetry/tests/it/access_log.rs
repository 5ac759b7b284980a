//! What stands in the log besides the behaviours, and what must not.
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response, StatusCode};
use portcullis_core::{
    AuthState, Body, Connection, Context, EdgeLayer, Identity, Problem, ProblemKind,
};
use portcullis_telemetry::ObserveLayer;
use tower::{Layer, Service, service_fn};

use super::support::{Log, poll_once};

const FAILED: ProblemKind = ProblemKind::new("test-failed", StatusCode::BAD_GATEWAY, "Failed");

#[test]
fn secrets_and_line_breaks_stay_out() {
    let log = Log::default();
    log.during(|| {
        let mut service = ObserveLayer::new().layer(EdgeLayer::new().layer(service_fn(
            |mut request: Request<()>| async move {
                let context = Context::of(&mut request);
                let eve = Identity::builder("https://id", "eve\n2026 INFO all is well").build();
                context.set_auth(AuthState::Authenticated(eve));
                context.set_route_label("/a".into());
                tracing::info!("inside");
                Ok::<_, Infallible>(Problem::new(FAILED).cause("no\r\nway").into_response())
            },
        )));
        let mut request = Request::get("http://h/a%62?token=hunter2");
        for name in ["authorization", "cookie", "x-own"] {
            request = request.header(name, "hunter2");
        }
        let mut request = request.body(()).unwrap();
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4711);
        Context::of(&mut request).set_connection(Connection::new(Some(peer)));
        assert!(poll_once(std::pin::pin!(service.call(request))).is_ready());
    });
    let [line] = &log.access()[..] else { panic!("one line a request") };
    for text in line.fields.values() {
        assert!(!text.contains("hunter2") && !text.contains(['\n', '\r']), "{text:?}");
    }
    for (field, want) in [
        ("message", "request"),
        ("url.path", "/ab"),
        ("client.address", "192.0.2.7"),
        ("enduser.id", "https://id||eve\\n2026 INFO all is well"),
        // Answered without the context: found in the response.
        ("problem", "test-failed"),
        ("cause", "no\\r\\nway"),
        ("error.source", "internal"),
        ("http.response.status_code", "502"),
    ] {
        assert_eq!(line.fields[field], want, "{field}");
    }
    assert_eq!(line.fields["request.id"].len(), 32);
    assert_eq!(line.fields["trace.id"].len(), 32);

    // The handler's events stand in one span, which says the same; the line itself stands outside it.
    let [span] = &log.spans.lock().unwrap()[..] else { panic!("one span a request") };
    assert_eq!((span.target, span.spans.as_slice()), ("portcullis", ["request"].as_slice()));
    for field in span.fields.keys() {
        assert_eq!(span.fields[field], line.fields[field], "{field}");
    }
    assert_eq!(span.fields.len(), 6);
    let events = log.events.lock().unwrap();
    assert_eq!(events.len(), 2);
    let lines = events.iter().map(|event| (event.target, event.spans.as_slice()));
    for (target, spans) in lines {
        let want: &[_] = if target == "portcullis::access" { &[] } else { &["request"] };
        assert_eq!(spans, want, "{target}");
    }
}

/// An error that counts how often it is shown.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<AtomicUsize>);
impl std::error::Error for Shown {}
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::SeqCst);
        f.write_str("shown")
    }
}

#[test]
fn nothing_is_formatted_when_nobody_listens() {
    for listens in [false, true] {
        let shown = Shown::default();
        let cause = shown.clone();
        let mut service = ObserveLayer::new().layer(service_fn(move |mut request: Request<()>| {
            let problem = Problem::new(FAILED).cause(cause.clone());
            let answer = problem.respond(&Context::of(&mut request));
            async { Ok::<_, Infallible>(answer) }
        }));
        let mut request = || {
            let call = std::pin::pin!(service.call(Request::new(())));
            assert!(poll_once(call).is_ready());
        };
        if listens {
            Log::default().during(request);
        } else {
            request();
        }
        assert_eq!(shown.0.load(Ordering::SeqCst), usize::from(listens));
    }
}

#[test]
fn a_service_that_answers_5xx_by_itself_is_no_failure_of_ours() {
    for (status, level) in [(500, tracing::Level::INFO), (200, tracing::Level::INFO)] {
        let log = Log::default();
        log.during(|| {
            let mut service =
                ObserveLayer::new().layer(service_fn(move |_: Request<()>| async move {
                    let response = Response::builder().status(status).body(Body::empty());
                    Ok::<_, Infallible>(response.unwrap())
                }));
            assert!(poll_once(std::pin::pin!(service.call(Request::new(())))).is_ready());
        });
        assert_eq!(log.access()[0].level, level, "{status}");
    }
}
