//! The metrics as a service.
use http::Request;
use http_body_util::BodyExt;
use portcullis_telemetry::Metrics;
use tower::ServiceExt;

#[tokio::test]
async fn get_has_the_text_and_head_only_its_length() {
    let metrics = Metrics::default();
    for (method, status, kind, has_body) in [
        ("GET", 200, "text/plain; version=0.0.4; charset=utf-8", true),
        ("HEAD", 200, "text/plain; version=0.0.4; charset=utf-8", false),
        ("POST", 405, "application/problem+json", true),
    ] {
        let request = Request::builder().method(method).uri("/metrics").body(()).unwrap();
        let response = metrics.service().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        assert_eq!(response.headers()["content-type"], kind, "{method}");
        if status == 200 {
            assert_eq!(response.headers()["content-length"], metrics.render().len().to_string());
        } else {
            assert_eq!(response.headers()["allow"], "GET, HEAD");
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(!body.is_empty(), has_body, "{method}");
        if status == 200 && has_body {
            assert_eq!(body, metrics.render());
        }
    }
}
