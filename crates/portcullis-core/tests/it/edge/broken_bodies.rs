//! A request body that failed is not taken for something else.
use http::{Request, Response, StatusCode};
use portcullis_core::{Body, BodyErrorKind, BodyLimit, Connection, Context, EdgeLayer};
use portcullis_testkit::TestClient;
use tower::{Layer, service_fn};

#[tokio::test]
async fn an_answer_that_only_says_that_something_failed_is_corrected() {
    use BodyErrorKind::{Malformed, TooLarge, TooSlow};
    for (failure, answered, want, slug) in [
        (Some(TooLarge), 500, 413, "body-too-large"),
        (Some(TooLarge), 400, 413, "body-too-large"),
        (Some(TooSlow), 502, 408, "body-too-slow"),
        (Some(TooSlow), 400, 408, "body-too-slow"),
        (Some(Malformed), 500, 400, "body-malformed"),
        // Right already, or decided by somebody, or nothing that the client did.
        (Some(Malformed), 400, 400, ""),
        (Some(TooLarge), 413, 413, ""),
        (Some(TooLarge), 422, 422, ""),
        (Some(TooLarge), 200, 200, ""),
        (None, 500, 500, ""),
        (None, 400, 400, ""),
    ] {
        let service = service_fn(move |mut request: Request<Body>| async move {
            let context = Context::of(&mut request);
            if let Some(failure) = failure {
                context.body_limit().failed(failure);
            }
            let mut response = Response::new(Body::from("of the application"));
            *response.status_mut() = StatusCode::from_u16(answered).unwrap();
            Ok::<_, std::convert::Infallible>(response)
        });
        let limit = BodyLimit::new(7);
        let request = TestClient::new(EdgeLayer::new().layer(service)).foreign_errors().post("/");
        let request = request.connection(Connection::new(None)).extension(limit.clone());
        let answer = request.send().await;
        assert_eq!(answer.status(), want, "{failure:?} {answered}");
        assert_eq!(limit.failure(), failure);
        match slug {
            "" => assert_eq!(answer.text(), "of the application", "{failure:?} {answered}"),
            _ => assert!(answer.text().contains(slug), "{failure:?} {answered}: {answer:?}"),
        }
    }
}
