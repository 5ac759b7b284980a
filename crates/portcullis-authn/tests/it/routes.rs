//! What the access of the route changes.
use portcullis_core::{Routes, authenticated, optional, public, require};
use portcullis_testkit::{TestClient, get};
use tower::ServiceBuilder;

use crate::support::{KEY, WhoAmI, context_after, layer};

fn routes() -> Routes<(), portcullis_core::route::Restricted> {
    let routes = Routes::builder()
        .get("/public", ())
        .rule(public())
        .get("/optional", ())
        .rule(optional())
        .get("/authenticated", ())
        .rule(authenticated())
        .get("/permission", ())
        .rule(require("orders:read"));
    routes.build().unwrap()
}

#[tokio::test]
async fn on_a_public_route_no_key_is_looked_at_and_elsewhere_every_key_is() {
    let inner = WhoAmI::default();
    let builder = ServiceBuilder::new().layer(routes().layer()).layer(layer());
    let client = TestClient::new(builder.service(inner.clone()));
    for (path, key, want) in [
        ("/public", None, Ok("anonymous")),
        ("/public", Some(KEY), Ok("anonymous")),
        ("/public", Some("k-guessed"), Ok("anonymous")),
        ("/public", Some(""), Ok("anonymous")),
        ("/optional", None, Ok("anonymous")),
        ("/optional", Some(KEY), Ok("api-key||ci")),
        ("/optional", Some("k-guessed"), Err("credentials-invalid")),
        // Whether anonymous callers may is for `Authorize` to say.
        ("/authenticated", None, Ok("anonymous")),
        ("/authenticated", Some(KEY), Ok("api-key||ci")),
        ("/authenticated", Some("k-guessed"), Err("credentials-invalid")),
        ("/permission", None, Ok("anonymous")),
        ("/permission", Some("k-guessed"), Err("credentials-invalid")),
    ] {
        let before = inner.calls();
        let request = client.get(path);
        let answer = match key {
            Some(key) => request.header("x-api-key", key).send().await,
            None => request.send().await,
        };
        match want {
            Ok(who) => {
                assert_eq!((answer.status().as_u16(), answer.text()), (200, who), "{path} {key:?}");
            }
            Err(slug) => {
                answer.assert_status(401).assert_problem(slug);
            }
        }
        assert_eq!(inner.calls() - before, usize::from(want.is_ok()), "{path} {key:?}");
    }
}

#[tokio::test]
async fn the_header_of_the_key_is_recorded_as_consumed_whatever_came_of_it() {
    let builder = ServiceBuilder::new().layer(routes().layer()).layer(layer());
    let service = builder.service(WhoAmI::default());
    for (path, key) in
        [("/public", KEY), ("/public", "k-guessed"), ("/optional", KEY), ("/optional", "k-guessed")]
    {
        let request = get(path).header("x-api-key", key);
        let context = context_after(service.clone(), request).await;
        assert_eq!(context.consumed().unwrap().headers(), ["x-api-key"], "{path} {key}");
        assert_eq!(context.consumed().unwrap().cookies().len(), 0, "{path} {key}");
    }
}

#[tokio::test]
async fn two_layers_that_authenticate_one_request_are_a_conflict() {
    let inner = WhoAmI::default();
    let builder = ServiceBuilder::new().layer(layer()).layer(layer());
    let client = TestClient::new(builder.service(inner.clone()));
    for key in ["", KEY] {
        let request = client.get("/");
        let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
        request.send().await.assert_status(500).assert_problem("context-conflict");
    }
    assert_eq!(inner.calls(), 0);
}
