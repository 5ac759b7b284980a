//! What is counted, and what bounds it.
use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use portcullis_core::{Body, Routes, stage};
use portcullis_telemetry::{Metrics, ObserveLayer};
use tower::{Layer, Service, service_fn};

use super::exposition::{Samples, request_with_label};
use super::support::poll_once;

const COUNT: &str = "http_server_request_duration_seconds_count";

/// A service that answers every request of this table, observed by `layer`.
fn stack(
    layer: &ObserveLayer,
    templates: &[&str],
) -> impl Service<Request<()>, Response = Response<Body>> + Clone + Send {
    let mut routes = Routes::builder();
    for template in templates {
        routes = routes.get(template, ()).public();
    }
    let routes = routes.build().unwrap();
    let leaf = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    layer.layer(routes.layer().layer(leaf))
}

fn get<S: Service<Request<()>>>(service: &mut S, path: &str) {
    let request = Request::get(format!("http://h{path}")).body(()).unwrap();
    assert!(poll_once(std::pin::pin!(service.call(request))).is_ready());
}

#[test]
fn ten_thousand_foreign_labels_have_a_thousand_series() {
    let metrics = Metrics::default();
    let (mut first, mut seed) = (None, 1_u64);
    for _ in 0..10_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let label = format!("/{seed:x}");
        request_with_label(&metrics, &label);
        first.get_or_insert(label);
    }
    // Known before: still itself. Too long: never itself.
    request_with_label(&metrics, first.as_deref().unwrap());
    let text = metrics.render();
    let samples = Samples::read(&text);
    assert_eq!(samples.with(COUNT, &[]).len(), 1_001);
    assert_eq!(samples.sum(COUNT, &[("http_route", "_OTHER")]), 9_000);
    assert_eq!(samples.sum(COUNT, &[("http_route", first.as_deref().unwrap())]), 2);
    assert!(text.len() < 4_000_000, "{}", text.len());
}

#[test]
fn a_foreign_label_that_is_very_long_has_no_series() {
    let metrics = Metrics::default();
    for (length, own) in [(256, 1), (257, 0)] {
        let label = "x".repeat(length);
        request_with_label(&metrics, &label);
        assert_eq!(Samples::read(&metrics.render()).sum(COUNT, &[("http_route", &label)]), own);
    }
}

#[test]
fn a_template_is_one_series_in_every_table() {
    let metrics = Metrics::default();
    let layer = ObserveLayer::new().metrics(metrics.clone());
    // Two tables behind one layer, and a third behind a layer of its own, as after a reload. `/b` moves.
    let mut before = stack(&layer, &["/a", "/b"]);
    let mut beside = stack(&layer, &["/b", "/c", "/a"]);
    let reloaded = ObserveLayer::new().metrics(metrics.clone());
    let mut after = stack(&reloaded, &["/c", "/b"]);
    for path in ["/a", "/b", "/b"] {
        get(&mut before, path);
    }
    for path in ["/a", "/b", "/c"] {
        get(&mut beside, path);
    }
    for path in ["/b", "/c", "/nothing"] {
        get(&mut after, path);
    }
    request_with_label(&metrics, "/a");
    let samples = Samples::read(&metrics.render());
    for (route, want) in [("/a", 3), ("/b", 4), ("/c", 2), ("", 1)] {
        assert_eq!(samples.sum(COUNT, &[("http_route", route)]), want, "{route}");
        assert_eq!(samples.with(COUNT, &[("http_route", route)]).len(), 1, "{route}");
    }
}

#[test]
fn no_count_is_lost_when_all_threads_count_at_once() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 500;
    let metrics = Metrics::default();
    let leaf = service_fn(|request: Request<()>| async move {
        let status = request.headers()["want"].to_str().unwrap().parse::<StatusCode>().unwrap();
        Ok::<_, Infallible>(Response::builder().status(status).body(Body::empty()).unwrap())
    });
    let routes = Routes::builder().any("/a", ()).public().any("/b", ()).public().build().unwrap();
    let service = ObserveLayer::new().metrics(metrics.clone()).layer(routes.layer().layer(leaf));
    let start = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mut service, metrics, start) = (service.clone(), &metrics, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    request_with_label(metrics, &format!("/foreign/{round}"));
                    // More statuses than there are places, each thread in an order of its own.
                    let status = 200 + (round * (2 * thread + 1)) % 80;
                    let path = if round % 2 == 0 { "/a" } else { "/b" };
                    let request = Request::get(format!("http://h{path}")).header("want", status);
                    let call = std::pin::pin!(service.call(request.body(()).unwrap()));
                    assert!(poll_once(call).is_ready());
                }
            });
        }
    });
    let samples = Samples::read(&metrics.render());
    let all = i128::try_from(THREADS * ROUNDS).unwrap();
    assert_eq!(samples.sum(COUNT, &[]), 2 * all);
    assert_eq!(samples.sum("http_server_active_requests", &[]), 0);
    let foreign = [("http_route", "/foreign/7")];
    assert_eq!(samples.sum(COUNT, &foreign), i128::try_from(THREADS).unwrap());
    for route in ["/a", "/b"] {
        assert_eq!(samples.sum(COUNT, &[("http_route", route)]), all / 2);
        assert!(samples.with(COUNT, &[("http_route", route)]).len() <= 65);
    }
}

#[test]
fn methods_that_nobody_defined_share_a_label() {
    let layer = ObserveLayer::default();
    let metrics = layer.metrics_handle();
    let mut service = stack(&layer, &["/a"]);
    for method in ["GET", "PURGE", "BREW"] {
        let request = Request::builder().method(method).uri("http://h/a").body(()).unwrap();
        assert!(poll_once(std::pin::pin!(service.call(request))).is_ready());
    }
    let samples = Samples::read(&metrics.render());
    assert_eq!(samples.sum(COUNT, &[("http_request_method", "GET")]), 1);
    assert_eq!(samples.sum(COUNT, &[("http_request_method", "_OTHER")]), 2);
}

#[test]
fn the_layer_is_the_outermost_of_a_stack() {
    fn of_stage<L: portcullis_core::stack::Staged<Stage = stage::Observe>>(_: &L) {}
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let layer = ObserveLayer::new();
    of_stage(&layer);
    shared(&layer.layer(()));
}
