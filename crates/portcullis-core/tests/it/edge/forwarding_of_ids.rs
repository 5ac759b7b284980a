//! Request id and trace continue what a trusted hop sent, and nothing that anybody else did.
use portcullis_core::{EdgeLayer, TraceContext};
use portcullis_testkit::TestClient;
use tower::Layer;

use crate::support::{WithHeaders, telling, trusting};

const TRUSTED: &str = "10.0.0.1";
const STRANGER: &str = "192.0.2.1";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

type Lines = &'static [(&'static str, &'static str)];

fn edge() -> EdgeLayer {
    EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]))
}

#[tokio::test]
async fn the_request_id_is_that_of_a_trusted_hop_or_a_new_one() {
    let application = telling(|context, request| {
        let id = context.request_id().unwrap().to_string();
        let sent = request.headers().get("x-request-id");
        assert!(sent.is_none_or(|sent| sent == id.as_str()), "another id goes on: {sent:?}");
        id
    });
    let client = TestClient::new(edge().layer(application));
    for (name, peer, lines, kept) in [
        ("of a trusted hop", TRUSTED, &[("x-request-id", "abc-123")] as Lines, true),
        ("of a stranger", STRANGER, &[("x-request-id", "abc-123")], false),
        ("of nobody known", "", &[("x-request-id", "abc-123")], false),
        ("none", TRUSTED, &[], false),
        ("what cannot stand in a log", TRUSTED, &[("x-request-id", "abc\"123")], false),
    ] {
        let answer = client.get("/").headers(lines).peer_at(peer).send().await;
        assert_eq!(answer.header("x-request-id"), Some(answer.text()), "{name}");
        assert_eq!(answer.text() == "abc-123", kept, "{name}");
        assert!(kept || answer.text().len() == 32, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_trace_is_continued_by_a_child_span_or_begun_anew() {
    let application = telling(|context, request| {
        let trace = context.trace().unwrap();
        let parent = trace.parent_id().map_or(0, std::num::NonZero::get);
        let names = ["traceparent", "tracestate", "baggage"];
        let kept = names.map(|name| request.headers().get_all(name).iter().count().to_string());
        let sampled = trace.is_sampled();
        format!("{:x} {parent:x} {sampled} {}", trace.trace_id(), kept.join(""))
    });
    let client = TestClient::new(edge().layer(application));
    let all: Lines = &[("traceparent", TRACE), ("tracestate", "a=1"), ("baggage", "user=7")];
    let continued = "af7651916cd43dd8448eb211c80319c b7ad6b7169203331 true 111";
    for (name, peer, lines, want) in [
        ("a trusted hop's", TRUSTED, all, Some(continued)),
        ("a stranger's", STRANGER, all, None),
        ("nobody known", "", all, None),
        (
            "an invalid one",
            TRUSTED,
            &[("traceparent", "00-0-0-01"), ("tracestate", "a=1"), ("baggage", "a=1")],
            None,
        ),
        (
            "two lines",
            TRUSTED,
            &[("traceparent", TRACE), ("traceparent", OTHER), ("baggage", "a=1")],
            None,
        ),
        (
            "two equal lines",
            TRUSTED,
            &[("traceparent", TRACE), ("traceparent", TRACE), ("tracestate", "a=1")],
            None,
        ),
        ("baggage alone, a stranger's", STRANGER, &[("baggage", "user=7")], None),
        ("a state without its trace", TRUSTED, &[("tracestate", "a=1"), ("baggage", "a=1")], None),
    ] {
        let answer = client.get("/").headers(lines).peer_at(peer).send().await;
        if let Some(want) = want {
            assert_eq!(answer.text(), want, "{name}");
        } else {
            let (trace, rest) = answer.text().split_once(' ').unwrap();
            assert_eq!(rest, "0 false 000", "{name}");
            assert!(!continued.starts_with(trace), "{name}");
        }
    }
}

#[tokio::test]
async fn every_request_is_a_span_of_its_own() {
    let client = TestClient::new(edge().layer(telling(|context, _| {
        let trace: TraceContext = *context.trace().unwrap();
        trace.to_string()
    })));
    let mut seen = std::collections::HashSet::from([TRACE.to_owned()]);
    for lines in [&[] as Lines, &[], &[("traceparent", TRACE)], &[("traceparent", TRACE)]] {
        let answer = client.get("/").headers(lines).peer_at(TRUSTED).send().await;
        assert!(seen.insert(answer.text().to_owned()), "{} came twice", answer.text());
    }
}
