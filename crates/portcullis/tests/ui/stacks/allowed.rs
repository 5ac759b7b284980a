//! Ten whole stacks that compile.
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;
use portcullis::Body;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

fn roles() -> Roles {
    Roles::builder().role("clerk").permits("orders:*").build().unwrap()
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(http::StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(1))
}

/// The whole stack around a guarded axum router.
fn whole() {
    let api = Guarded::new().route("/", get(|| async { "" }), require("orders:read"));
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(RateLimitLayer::before_authentication())
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(AuthorizeLayer::new(roles()))
        .layer(CacheLayer::in_memory(1 << 20))
        .around(api);
}

/// A table in which everything is public needs nobody to enforce it.
fn all_public() {
    let api = Guarded::new().route("/", get(|| async { "" }), public());
    let _ = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer()).around(api);
}

/// Without any web framework.
fn plain_routes() {
    let routes = Routes::builder().get("/", tower::service_fn(answer)).authenticated().build().unwrap();
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .around(routes);
}

/// Without a table, with one requirement for everything.
fn one_requirement() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).require("orders:read"))
        .service(tower::service_fn(answer));
}

/// Only the edge.
fn only_the_edge() {
    let _ = Stack::new().layer(EdgeLayer::default()).service(tower::service_fn(answer));
}

/// No layer at all.
fn nothing() {
    let _ = Stack::new().service(tower::service_fn(answer));
}

/// Foreign layers at their stages.
fn foreign() {
    let routes = Routes::builder().get("/", tower::service_fn(answer)).public().build().unwrap();
    let _ = Stack::new()
        .at(stage::Observe, TraceLayer::new_for_http())
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .at(stage::Answer, timeout())
        .at(stage::Answer, timeout())
        .at(stage::Inner, timeout())
        .around(routes);
}

/// A layer that may be absent.
fn optional_layer(observe: Option<ObserveLayer>) {
    let routes = Routes::builder().get("/", tower::service_fn(answer)).public().build().unwrap();
    let _ = Stack::new().layer(observe).layer(EdgeLayer::default()).layer(routes.layer()).around(routes);
}

/// As a plain tower layer.
fn as_a_layer() {
    let stack = Stack::new().layer(ObserveLayer::default()).layer(EdgeLayer::default());
    let _: axum::Router = axum::Router::new().layer(stack);
}

/// Several limits at the stages that may hold several.
fn several_limits() {
    let routes = Routes::builder().get("/", tower::service_fn(answer)).optional().build().unwrap();
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(RateLimitLayer::before_authentication())
        .layer(RateLimitLayer::before_authentication())
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory())
        .layer(RateLimitLayer::in_memory())
        .layer(AuthorizeLayer::new(roles()))
        .around(routes);
}

fn main() {
    whole();
    all_public();
    plain_routes();
    one_requirement();
    only_the_edge();
    nothing();
    foreign();
    optional_layer(None);
    as_a_layer();
    several_limits();
}
