//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn observe_observe() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(ObserveLayer::default());
}

fn observe_route() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(routes().layer());
}

fn observe_limit() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(RateLimitLayer::in_memory());
}

fn observe_authorize() {
    let _ = Stack::new()
        .layer(ObserveLayer::default())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
