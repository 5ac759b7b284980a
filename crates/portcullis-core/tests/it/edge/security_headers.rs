//! Headers that every answer carries, whoever made it.
use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response, header};
use portcullis_core::problem::{Rendered, kinds};
use portcullis_core::{Body, Context, EdgeLayer, Problem, SecurityHeaders, Tls};
use portcullis_testkit::TestClient;
use tower::{Layer, service_fn};

use crate::support::{from, telling, trusting};

/// Answers `/problem` with a problem, `/own` with headers of its own, the rest with 200.
async fn application(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context = Context::of(&mut request);
    Ok(match request.uri().path() {
        "/problem" => Problem::new(kinds::ROUTE_NOT_FOUND).respond(&context),
        "/own" => Response::builder()
            .header("referrer-policy", "origin")
            .header("content-security-policy", "default-src 'self'")
            .header("content-security-policy", "frame-ancestors 'self'")
            .header("strict-transport-security", "max-age=1")
            .header("x-request-id", "mine")
            .body(Body::empty())
            .unwrap(),
        _ => Response::new(Body::from("fine")),
    })
}

#[tokio::test]
async fn every_answer_carries_them_and_over_https_one_more() {
    let edge = EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]));
    let client = TestClient::new(edge.layer(service_fn(application)));
    let tls = || from("192.0.2.1").with_tls(Arc::new(Tls::new()));
    for (target, status) in [("/", 200), ("/problem", 404), ("/a%2Fb", 400)] {
        for (name, connection, https) in [
            ("unknown", None, false),
            ("in clear", Some(from("192.0.2.1")), false),
            ("over TLS", Some(tls()), true),
        ] {
            let request = client.get(target);
            let request = match connection {
                Some(connection) => request.connection(connection),
                None => request,
            };
            // What a stranger says about the scheme does not count.
            let answer = request.header("x-forwarded-proto", "https").send().await;
            answer.assert_status(status);
            for (header, want) in [
                ("x-content-type-options", Some("nosniff")),
                ("referrer-policy", Some("no-referrer")),
                ("content-security-policy", Some("frame-ancestors 'none'")),
                (
                    "strict-transport-security",
                    https.then_some("max-age=31536000; includeSubDomains"),
                ),
            ] {
                assert_eq!(answer.header(header), want, "{target} {name}");
            }
            assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{target} {name}");
        }
    }
}

#[tokio::test]
async fn https_is_also_what_a_trusted_proxy_says_it_is() {
    let edge = EdgeLayer::new().trusted_proxies(trusting(&["10.0.0.0/8"]));
    let client = TestClient::new(edge.layer(service_fn(application)));
    for (target, proto, want) in [
        ("/", "https", true),
        ("/", "http", false),
        ("/problem", "https", true),
        ("/a%2Fb", "http", false),
        ("/a%2Fb", "https", true),
    ] {
        let request = client.get(target).connection(from("10.0.0.1"));
        let answer = request.header("x-forwarded-proto", proto).send().await;
        let found = answer.headers().contains_key("strict-transport-security");
        assert_eq!(found, want, "{target} by {proto}");
    }
}

#[tokio::test]
async fn what_the_application_says_stays_but_for_the_request_id() {
    let client = TestClient::new(EdgeLayer::new().layer(service_fn(application)));
    let tls = from("192.0.2.1").with_tls(Arc::default());
    let answer = client.get("/own").connection(tls).send().await;
    assert_eq!(answer.header("referrer-policy"), Some("origin"));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=1"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let policies = answer.headers().get_all("content-security-policy").iter();
    let policies: Vec<_> = policies.map(|value| value.to_str().unwrap()).collect();
    assert_eq!(policies, ["default-src 'self'", "frame-ancestors 'self'"]);
    assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
    assert_ne!(answer.header("x-request-id"), Some("mine"));
}

#[tokio::test]
async fn an_application_chooses_its_own() {
    let value = HeaderValue::from_static;
    let csp = header::CONTENT_SECURITY_POLICY;
    let hsts = header::STRICT_TRANSPORT_SECURITY;
    let default = "no-referrer|nosniff|frame-ancestors 'none'|max-age=31536000; includeSubDomains|";
    for (name, headers, want) in [
        ("default", SecurityHeaders::default(), default.to_owned()),
        ("none", SecurityHeaders::none(), "||||".to_owned()),
        (
            "another value",
            SecurityHeaders::default().with(csp.clone(), value("default-src 'none'")),
            default.replace("frame-ancestors 'none'", "default-src 'none'"),
        ),
        (
            "one more",
            SecurityHeaders::none().with(header::X_FRAME_OPTIONS, value("DENY")),
            "||||DENY".to_owned(),
        ),
        (
            "without one",
            SecurityHeaders::default().without(&csp),
            default.replace("frame-ancestors 'none'", ""),
        ),
        (
            "another value over https",
            SecurityHeaders::none().with(hsts.clone(), value("max-age=1")),
            "|||max-age=1|".to_owned(),
        ),
        (
            "without the one over https",
            SecurityHeaders::default().without(&hsts),
            default.replace("max-age=31536000; includeSubDomains", ""),
        ),
    ] {
        let edge = EdgeLayer::new().security_headers(headers);
        let client = TestClient::new(edge.layer(telling(|_, _| String::new())));
        let tls = from("192.0.2.1").with_tls(Arc::default());
        let answer = client.get("/").connection(tls).send().await;
        let names =
            [header::REFERRER_POLICY, header::X_CONTENT_TYPE_OPTIONS, csp.clone(), hsts.clone()];
        let names = names.into_iter().chain([header::X_FRAME_OPTIONS]);
        let told = |name: HeaderName| answer.header(name.as_str()).unwrap_or_default().to_owned();
        assert_eq!(names.map(told).collect::<Vec<_>>().join("|"), want, "{name}");
        assert!(answer.headers().contains_key("x-request-id"), "{name}");
    }
    // In clear, the one over https is never sent, whatever its value.
    let headers = SecurityHeaders::none().with(hsts.clone(), value("max-age=1"));
    let edge = EdgeLayer::new().security_headers(headers).layer(telling(|_, _| String::new()));
    let answer = TestClient::new(edge).get("/").send().await;
    assert!(!answer.headers().contains_key(&hsts));
}

#[tokio::test]
async fn an_application_shows_problems_in_its_own_way() {
    let render = |problem: &Problem, context: &Context| {
        let id = context.request_id().unwrap();
        let body = format!("{} {id}", problem.kind().slug());
        Some(Rendered::new(HeaderValue::from_static("text/plain"), body))
    };
    let edge = EdgeLayer::new().render_problems(render);
    let client = TestClient::new(edge.layer(service_fn(application)));
    for (target, status, slug) in
        [("/a%2Fb", 400, "target-invalid"), ("/problem", 404, "route-not-found")]
    {
        let answer = client.get(target).send().await;
        answer.assert_status(status).assert_problem(slug);
        assert_eq!(answer.text(), format!("{slug} {}", answer.header("x-request-id").unwrap()));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    assert_eq!(client.get("/").send().await.text(), "fine");
}
