//! Extractors whose rejections are problems.
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use portcullis_axum::{Guarded, Valid, get, post};
use portcullis_core::{Body, BodyError, BodyErrorKind, public};

use crate::support::{Decide, client};

/// A request body that begins and then fails with this error, as the server's does.
struct Failing(bool, Option<BodyError>);

impl HttpBody for Failing {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if std::mem::take(&mut self.0) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"[1,")))));
        }
        Poll::Ready(self.1.take().map(Err))
    }
}

fn api() -> Guarded {
    Guarded::new()
        .route("/bytes", post(|Valid(body): Valid<Bytes>| async { body }), public())
        .route("/text", post(|Valid(body): Valid<String>| async { body }), public())
        .route("/json", post(|Valid(body): Valid<Json<Vec<u8>>>| async { body }), public())
        .route(
            "/book/{id}",
            get(|Valid(Path(id)): Valid<Path<u8>>| async move { id.to_string() }),
            public(),
        )
}

#[tokio::test]
async fn a_body_that_the_server_could_not_read_is_the_problem_that_it_is() {
    let client = client(api(), Decide::Nothing);
    for path in ["/bytes", "/text", "/json"] {
        for (kind, status, slug) in [
            (BodyErrorKind::TooLarge, 413, "body-too-large"),
            (BodyErrorKind::TooSlow, 408, "body-too-slow"),
            (BodyErrorKind::Malformed, 400, "body-malformed"),
        ] {
            for begins in [false, true] {
                let error = BodyError::new(kind).cause("reset by 10.0.0.7");
                let body = Body::new(Failing(begins, Some(error)));
                let request = client.post(path).header("content-type", "application/json");
                let answer = request.body(body).send().await;
                answer.assert_status(status).assert_problem(slug);
                assert!(!answer.text().contains("10.0.0.7"), "{}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_as_the_handler_takes_it_is_told_as_what_it_is() {
    let client = client(api(), Decide::Nothing);
    let json = |body: &'static str| {
        client.post("/json").header("content-type", "application/json").body(body)
    };
    json("[1, 2]").send().await.assert_status(200);
    json("[1, 2").send().await.assert_status(400).assert_problem("request-invalid");
    json("{}").send().await.assert_status(422).assert_problem("content-invalid");
    let answer = client.post("/json").body("[1]").send().await;
    answer.assert_status(415).assert_problem("media-type-unsupported");
    let answer = client.post("/bytes").body("x".repeat((2 << 20) + 1)).send().await;
    answer.assert_status(413).assert_problem("content-too-large");
    client.get("/book/7").send().await.assert_status(200);
    client.get("/book/x").send().await.assert_status(400).assert_problem("request-invalid");
}
