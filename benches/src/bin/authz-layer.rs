//! What the authorization layer costs by itself: behind a layer that says who is calling and which route it is, in front of a service that answers. Run by
//! `cargo xtask bench authz`, which counts the instructions.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use portcullis::authz::{AuthorizeLayer, DecisionLog, DecisionRecord, ExplainLayer, Roles, Shadow};
use portcullis::prelude::Routes;
use portcullis::{AuthState, Body, BoxError, Context, Identity, Route};
use portcullis_benches::{command, measure};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VARIANTS: [&str; 9] = [
    "no layer",
    "allowed",
    "allowed, with a shadow",
    "allowed, with a log that keeps nothing of it",
    "allowed, with a log",
    "allowed, with `ExplainLayer`, and nobody asks",
    "no layer but `ExplainLayer`, and nobody asks",
    "allowed, and explained",
    "denied",
];
const ASKED: HeaderName = HeaderName::from_static("portcullis-explain");

fn main() {
    command("authz-layer", &VARIANTS, |variant, count| {
        if let Err(error) = run(variant, count) {
            println!("{error}");
        }
    });
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

fn run(variant: &str, count: u32) -> Result<(), BoxError> {
    let roles = || {
        let roles = Roles::builder().role("reader").permits("books:read").permits("explain");
        roles.role("clerk").inherits("reader").permits("books:write").build()
    };
    let permission = if variant == "denied" { "books:write" } else { "books:read" };
    let routes = Routes::builder().get("/books/{id}", service_fn(answer)).require(permission);
    let route = routes.build()?.table().routes().next().ok_or("there is no route")?;
    let ada = Identity::builder("https://id.example", "5f2a7c1e-ada").role("reader").build();
    let known = MapRequestLayer::new(move |request| known(request, &ada, &route));
    let (layer, explain) = (AuthorizeLayer::new(roles()?), ExplainLayer::new(roles()?, "explain"));
    let log = DecisionLog::new(|record: DecisionRecord| drop(record));
    let end = service_fn(answer);
    match variant {
        "no layer" => measured(&known.layer(end), variant, count),
        "allowed" | "denied" => measured(&known.layer(layer.layer(end)), variant, count),
        "allowed, with a shadow" => {
            let layer = layer.shadow(Shadow::new(roles()?));
            measured(&known.layer(layer.layer(end)), variant, count);
        }
        "allowed, with a log that keeps nothing of it" => {
            let layer = layer.log(log.share_of_allowed(0.0));
            measured(&known.layer(layer.layer(end)), variant, count);
        }
        "allowed, with a log" => {
            measured(&known.layer(layer.log(log).layer(end)), variant, count);
        }
        "no layer but `ExplainLayer`, and nobody asks" => {
            measured(&explain.layer(known.layer(end)), variant, count);
        }
        "allowed, and explained" | "allowed, with `ExplainLayer`, and nobody asks" => {
            measured(&explain.layer(known.layer(layer.layer(end))), variant, count);
        }
        other => println!("there is no variant `{other}`"),
    }
    Ok(())
}

/// As after authentication, on the way to a route.
fn known(mut request: Request<Body>, caller: &Identity, route: &Route) -> Request<Body> {
    let context = Context::of(&mut request);
    context.set_auth(AuthState::Authenticated(caller.clone()));
    context.set_route(route.clone());
    request
}

fn measured<S>(service: &S, variant: &str, count: u32)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let status = if variant == "denied" { 403 } else { 200 };
    let is_explained = variant.ends_with("explained");
    measure(ALLOCATOR, count, async || {
        // As from a server's shared buffer: cloning a part of it allocates nothing.
        let request = Request::get(Uri::from_static("/books/7"))
            .header("host", HeaderValue::from_static("shop.example"))
            .header("accept", HeaderValue::from_static("application/json"));
        let mut request = request.body(Body::empty()).unwrap_or_default();
        if is_explained {
            request.headers_mut().insert(ASKED, HeaderValue::from_static("?1"));
        }
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.status(), status, "the benchmark measures what it says");
        assert_eq!(response.headers().contains_key(ASKED), is_explained);
        drop(response.into_body().collect().await);
    });
}
