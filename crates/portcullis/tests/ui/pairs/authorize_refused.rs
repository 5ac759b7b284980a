//! Made of the table in tests/stages.md.
use portcullis::prelude::*;

fn routes() -> Routes<(), Restricted> {
    Routes::builder().get("/", ()).authenticated().build().unwrap()
}
fn roles() -> Roles {
    Roles::builder().build().unwrap()
}

fn authorize_observe() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(ObserveLayer::default());
}

fn authorize_edge() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(EdgeLayer::default());
}

fn authorize_shed() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(RateLimitLayer::before_routing());
}

fn authorize_route() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(routes().layer());
}

fn authorize_prelimit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(RateLimitLayer::before_authentication());
}

fn authorize_authenticate() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(AuthenticateLayer::new());
}

fn authorize_limit() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(RateLimitLayer::in_memory());
}

fn authorize_authorize() {
    let _ = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes().layer())
        .layer(AuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()))
        .layer(AuthorizeLayer::new(roles()));
}

fn main() {
    let _ = (routes, roles);
}
