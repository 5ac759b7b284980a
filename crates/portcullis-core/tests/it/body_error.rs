//! What went wrong with a request body, and how it is found behind other errors.
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use portcullis_core::problem::Source;
use portcullis_core::{Body, BodyError, BodyErrorKind, BoxError, EdgeLayer};
use portcullis_testkit::{TestClient, collect};
use tower::{Layer, service_fn};

/// An error around another.
#[derive(Debug, thiserror::Error)]
#[error("the form could not be read")]
struct Around(#[source] BoxError);

/// A request body that fails with this error.
struct Failing(Option<BodyError>);

impl HttpBody for Failing {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

#[test]
fn it_is_found_wherever_it_stands_in_the_chain() {
    let ours = || BodyError::new(BodyErrorKind::TooSlow);
    let rows: [(&str, BoxError, bool); 9] = [
        ("itself", ours().into(), true),
        ("with a cause of its own", ours().cause("reset by peer").into(), true),
        ("behind one", Around(ours().into()).into(), true),
        ("behind two", Around(Around(ours().into()).into()).into(), true),
        ("carried by an I/O error", io::Error::other(ours()).into(), true),
        ("behind an I/O error's own", io::Error::other(Around(ours().into())).into(), true),
        ("in an I/O error behind one", Around(io::Error::other(ours()).into()).into(), true),
        (
            "an I/O error that carries nothing",
            io::Error::from(io::ErrorKind::TimedOut).into(),
            false,
        ),
        ("another", Around("broken".into()).into(), false),
    ];
    for (name, error, found) in rows {
        let it = BodyError::find(error.as_ref());
        assert_eq!(it.map(BodyError::kind), found.then_some(BodyErrorKind::TooSlow), "{name}");
    }
    // The outermost says what it is.
    let inner = BodyError::new(BodyErrorKind::Malformed);
    let outer = BodyError::new(BodyErrorKind::TooLarge).cause(inner);
    assert_eq!(BodyError::find(&outer).unwrap().kind(), BodyErrorKind::TooLarge);
}

#[tokio::test]
async fn each_kind_has_its_problem_and_the_cause_is_for_the_log() {
    let mut seen = Vec::new();
    for (kind, status, slug) in [
        (BodyErrorKind::TooLarge, 413, "body-too-large"),
        (BodyErrorKind::TooSlow, 408, "body-too-slow"),
        (BodyErrorKind::Malformed, 400, "body-malformed"),
    ] {
        seen.push(kind);
        let error = BodyError::new(kind).cause("reset by 10.0.0.7");
        assert_eq!(error.source().unwrap().to_string(), "reset by 10.0.0.7", "{slug}");
        let application = service_fn(|mut request: http::Request<Body>| async move {
            let context = portcullis_core::Context::of(&mut request);
            let error = collect(request.into_body()).await.unwrap_err();
            let found = BodyError::find(error.as_ref()).expect("our body hands it on");
            Ok::<_, std::convert::Infallible>(found.problem().respond(&context))
        });
        let client = TestClient::new(EdgeLayer::new().layer(application));
        let answer = client.post("/").body(Body::new(Failing(Some(error)))).send().await;
        answer.assert_status(status).assert_problem(slug);
        assert!(!answer.text().contains("10.0.0.7"), "{}", answer.text());
        let problem = answer.extensions().get::<portcullis_core::Problem>().unwrap();
        let cause = problem.cause_error().unwrap();
        assert_eq!(cause.source().unwrap().to_string(), "reset by 10.0.0.7", "{slug}");
        assert_eq!(problem.error_source(), Source::Downstream, "{slug}");
    }
    assert_eq!(seen, BodyErrorKind::ALL);
}
