//! What each layer costs: handles requests in one process, without a network, and counts allocations. Run by
//! `cargo xtask bench instructions`, which counts the instructions.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Path};
use axum::http::{HeaderValue, Request, Response, Uri};
use portcullis::axum::{Bridge, BridgeLayer, Guarded, get};
use portcullis::prelude::*;
use portcullis::stack::{Enforcement, KnownRoute, Staged};
use portcullis::{BoxError, Decision, Requirement, Verdict};
use portcullis_benches::{command, measure};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::util::{MapRequest, MapRequestLayer};
use tower::{Layer, Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each with the layers of the one before, in the order of the stack.
const VARIANTS: [&str; 9] = [
    "bare axum",
    "+ a context",
    "+ observe",
    "+ edge",
    "+ route and leaf guard",
    "+ pre-limit",
    "+ authenticate",
    "+ limit",
    "+ authorize",
];

const KEY: &str = "k-7f3a9c1e5b2d4860";

fn main() {
    command("portcullis-benches", &VARIANTS, run);
}

async fn book(Path(id): Path<u32>) -> &'static str {
    if id == 0 { "no book" } else { "a book" }
}

fn run(variant: &str, count: u32) {
    let axum = || Router::new().route("/books/{id}", axum::routing::get(book));
    let outer = || Stack::new().layer(ObserveLayer::default()).layer(EdgeLayer::default());
    let api = || Guarded::new().route("/books/{id}", get(book), require("books:read"));
    let limited =
        || Guarded::new().route("/books/{id}", get(book), require("books:read").limit("books"));
    let before = || RateLimitLayer::before_authentication().everywhere(per_second(1_000_000_000));
    let limit =
        || RateLimitLayer::in_memory().quota("books", per_second(1_000_000_000).by(Key::Identity));
    let authenticate = || {
        let key = ApiKey::new("ci", KEY).role("reader");
        AuthenticateLayer::new().api_keys(ApiKeys::new().key(key))
    };
    let authorize = || AuthorizeLayer::new(roles());

    match variant {
        "bare axum" => measured(&axum(), count),
        "+ a context" => measured(&MapRequestLayer::new(with_context).layer(axum()), count),
        "+ observe" => measured(&bridged(ObserveLayer::default().layer(axum())), count),
        "+ edge" => measured(
            &bridged(ObserveLayer::default().layer(EdgeLayer::default().layer(axum()))),
            count,
        ),
        "+ route and leaf guard" => {
            let api = api();
            finish(outer().layer(api.route_layer()).layer(Allow).around(api), count);
        }
        "+ pre-limit" => {
            let api = api();
            finish(
                outer().layer(api.route_layer()).layer(before()).layer(Allow).around(api),
                count,
            );
        }
        "+ authenticate" => {
            let api = api();
            let stack = outer().layer(api.route_layer()).layer(before()).layer(authenticate());
            finish(stack.layer(Allow).around(api), count);
        }
        "+ limit" => {
            let api = limited();
            let stack = outer()
                .layer(api.route_layer())
                .layer(before())
                .layer(authenticate())
                .layer(limit());
            finish(stack.layer(Allow).around(api), count);
        }
        "+ authorize" => {
            let api = limited();
            let stack = outer()
                .layer(api.route_layer())
                .layer(before())
                .layer(authenticate())
                .layer(limit());
            finish(stack.layer(authorize()).around(api), count);
        }
        other => println!("there is no variant `{other}`"),
    }
}

fn roles() -> Roles {
    let roles =
        Roles::builder().role("reader").permits("books:read").role("clerk").inherits("reader");
    roles.build().unwrap_or_else(|errors| unreachable!("the roles above are well formed: {errors}"))
}

fn with_context(mut request: Request<Body>) -> Request<Body> {
    Context::of(&mut request);
    request
}

fn bridged<S>(service: S) -> Bridge<S> {
    BridgeLayer::new().layer(service)
}

/// Decides in place of `AuthorizeLayer`, where a variant does not have it yet.
#[derive(Clone)]
struct Allow;

impl<S> Layer<S> for Allow {
    type Service = MapRequest<S, fn(Request<Body>) -> Request<Body>>;
    fn layer(&self, inner: S) -> Self::Service {
        MapRequest::new(inner, allowed)
    }
}

impl Staged for Allow {
    type Stage = stage::Authorize;
    type Needs = KnownRoute;
    type Provides = Enforcement;
}

fn allowed(mut request: Request<Body>) -> Request<Body> {
    let context = Context::of(&mut request);
    let decision =
        Decision::new(Verdict::Allow, context.route().cloned(), Requirement::Public, "bench");
    context.set_decision(decision);
    request
}

fn finish<S, B>(app: Result<S, ConfigErrors>, count: u32)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match app {
        Ok(app) => measured(&app, count),
        Err(errors) => println!("{errors}"),
    }
}

fn request() -> Request<Body> {
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    // As from a server's shared buffer: cloning a part of it allocates nothing.
    let request = Request::get(Uri::from_static("/books/7"))
        .header("host", HeaderValue::from_static("shop.example"))
        .header("user-agent", HeaderValue::from_static("bench"))
        .header("accept", HeaderValue::from_static("application/json"))
        .header("x-api-key", HeaderValue::from_static(KEY))
        .extension(ConnectInfo(peer));
    request.body(Body::empty()).unwrap_or_default()
}

fn measured<S, B>(service: &S, count: u32)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    measure(ALLOCATOR, count, async || one(service).await);
}

async fn one<S, B>(service: &S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Ok(response) = service.clone().oneshot(request()).await;
    assert_eq!(response.status(), 200, "the benchmark measures what succeeds");
    // As `axum::serve` does: the body becomes axum's, and is read to its end.
    drop(axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await);
}
