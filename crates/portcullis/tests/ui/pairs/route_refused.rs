//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn route_observe() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(ObserveLayer::default());
}

fn route_edge() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(EdgeLayer::default());
}

fn route_shed() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(RateLimitLayer::before_routing());
}

fn route_route() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(routes().layer());
}

fn route_limit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(RateLimitLayer::in_memory());
}

fn route_authorize() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
