//! What is still under way for a caller who is no longer good.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use portcullis_authn::{ApiKey, ApiKeys, AuthenticateLayer};
use portcullis_core::{Body, Revocation, Revoked};
use portcullis_testkit::{Contract, TestClient, get, request};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{KEY, WhoAmI, secret};

const OTHER: &str = "k-of-somebody-else";

/// Knows a key that can be revoked, and one that stays good.
fn layer(revocation: &Revocation) -> AuthenticateLayer {
    let revocable = ApiKey::new("ci", secret(KEY)).revocation(revocation.clone());
    let keys = ApiKeys::new().key(revocable).key(ApiKey::new("other", secret(OTHER)));
    AuthenticateLayer::new().api_keys(keys)
}

/// A stream of events that has said one thing and waits for the next.
struct Events(Option<&'static str>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |text: &'static str| Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        self.0.take().map_or(Poll::Pending, |text| Poll::Ready(frame(text)))
    }
}

/// The answer to a request with this key and method, from an application that answers with `status` and events.
async fn answer(revocation: &Revocation, method: Method, key: &str, status: u16) -> Response<Body> {
    let events = service_fn(move |_: Request<Body>| async move {
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = Response::new(Body::new(Events(Some("one"))));
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    let mut asked = request(method, "/");
    if !key.is_empty() {
        asked = asked.header("x-api-key", key);
    }
    layer(revocation).layer(events).oneshot(asked.build()).await.unwrap()
}

/// What the body says next: a text, `waits`, or `revoked`.
fn next(body: &mut Body) -> String {
    match Pin::new(body).poll_frame(&mut Cx::from_waker(Waker::noop())) {
        Poll::Pending => "waits".to_owned(),
        Poll::Ready(None) => "over".to_owned(),
        Poll::Ready(Some(Ok(frame))) => {
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        }
        Poll::Ready(Some(Err(error))) if error.is::<Revoked>() => "revoked".to_owned(),
        Poll::Ready(Some(Err(error))) => error.to_string(),
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_identity_that_it_is_for() {
    for (name, key, after) in
        [("revoked", KEY, "revoked"), ("another", OTHER, "waits"), ("anonymous", "", "waits")]
    {
        let revocation = Revocation::new();
        let mut body = answer(&revocation, Method::GET, key, 200).await.into_body();
        assert_eq!([next(&mut body), next(&mut body)], ["one", "waits"], "{name}");
        revocation.revoke();
        assert_eq!(next(&mut body), after, "{name}");
    }
}

#[tokio::test]
async fn where_the_connection_changes_its_protocol_the_server_gets_the_signal() {
    for (method, status, key, handed_on) in [
        (Method::GET, 101, KEY, true),
        (Method::GET, 101, OTHER, false),
        (Method::GET, 101, "", false),
        (Method::GET, 200, KEY, false),
        (Method::CONNECT, 200, KEY, true),
        (Method::CONNECT, 200, OTHER, false),
        (Method::CONNECT, 404, KEY, false),
    ] {
        let name = format!("{method} {status} {key}");
        let revocation = Revocation::new();
        let response = answer(&revocation, method, key, status).await;
        let signal = response.extensions().get::<Revocation>().cloned();
        assert_eq!(signal.is_some(), handed_on, "{name}");
        revocation.revoke();
        assert!(signal.is_none_or(|signal| signal.is_revoked()), "{name}");
        // What the server does not close by the signal, ends by its body.
        let mut body = response.into_body();
        assert_eq!(next(&mut body) == "revoked", !handed_on && key == KEY, "{name}");
    }
}

#[tokio::test]
async fn a_credential_that_was_revoked_is_not_valid() {
    let (revocation, inner) = (Revocation::new(), WhoAmI::default());
    let client = TestClient::new(layer(&revocation).layer(inner.clone()));
    let ask = |key| client.get("/").header("x-api-key", key).send();
    assert_eq!(ask(KEY).await.text(), "api-key||ci");
    revocation.revoke();
    ask(KEY).await.assert_status(401).assert_problem("credentials-invalid");
    assert_eq!(ask(OTHER).await.text(), "api-key||other");
    assert_eq!(inner.calls(), 2);
}

#[tokio::test]
async fn an_answer_that_is_at_hand_is_said_to_its_end() {
    // As of a handler that logs the caller out and says so.
    let revocation = Revocation::new();
    let signal = revocation.clone();
    let log_out = service_fn(move |_: Request<Body>| {
        let signal = signal.clone();
        async move {
            signal.revoke();
            let said = http_body_util::Full::new(Bytes::from_static(b"logged out"));
            Ok::<_, Infallible>(Response::new(Body::new(said)))
        }
    });
    let client = TestClient::new(layer(&revocation).layer(log_out));
    let answer = client.post("/logout").header("x-api-key", KEY).send().await;
    assert_eq!(answer.text(), "logged out");
}

#[tokio::test]
async fn with_an_identity_that_can_be_revoked_it_keeps_the_contract() {
    Contract::new(layer(&Revocation::new()))
        .passes(|| get("/").header("x-api-key", KEY).build())
        .check()
        .await;
}
