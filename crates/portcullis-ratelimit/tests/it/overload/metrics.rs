//! What is counted, as metrics.
use portcullis_core::MetricSource;
use portcullis_ratelimit::{Concurrency, OverloadLayer, OverloadStats};
use portcullis_testkit::FakeTime;
use tower::Layer;

use super::support::{Gate, call, poll_once, request_of};

#[tokio::test]
async fn each_layer_has_its_lines_and_each_reason_one() {
    let clock = FakeTime::new().clock();
    let front = OverloadLayer::before_routing(Concurrency::fixed(3));
    let inner = OverloadLayer::inner(Concurrency::adaptive().initial(20).into());
    let stats = OverloadStats::new().with("front", &front).with("in\"ner", &inner);
    let service = front.layer(Gate::new().service());
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut call = call(&service, request_of(None, &clock)).await;
        let _ = poll_once(&mut call).await;
        held.push(call);
    }
    let mut text = String::new();
    stats.write(&mut text);
    for line in [
        "portcullis_overload_in_flight{layer=\"front\"} 3",
        "portcullis_overload_limit{layer=\"front\"} 3",
        "portcullis_overload_limit{layer=\"in\\\"ner\"} 20",
        "portcullis_overload_waiting{layer=\"front\"} 0",
        "portcullis_overload_admitted_total{layer=\"front\"} 3",
        "portcullis_overload_shed_total{layer=\"front\",reason=\"full\"} 2",
        "portcullis_overload_shed_total{layer=\"front\",reason=\"codel\"} 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!((families, samples), (5, 2 * (4 + 7)), "{text}");
    drop(held);
    text.clear();
    stats.write(&mut text);
    assert!(text.contains("portcullis_overload_in_flight{layer=\"front\"} 0\n"), "{text}");
}
