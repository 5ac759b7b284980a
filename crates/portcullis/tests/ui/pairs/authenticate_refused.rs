//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn authenticate_observe() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(ObserveLayer::default());
}

fn authenticate_edge() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(EdgeLayer::default());
}

fn authenticate_shed() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::before_routing());
}

fn authenticate_route() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(routes().layer());
}

fn authenticate_prelimit() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(RateLimitLayer::before_authentication());
}

fn authenticate_authenticate() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(AuthenticateLayer::new());
}

fn authenticate_authorize() {
    let _ = Stack::new()
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
