//! Policies in Cedar: what they are told, what comes of what they say, and that Cedar is asked as its authors ask it.
use portcullis_authz::cedar::CedarPolicies;
use portcullis_authz::{AuthorizeLayer, Authorizer, Opinion, Resource, Roles};
use portcullis_core::{Context, EdgeLayer, Routes, policy};
use portcullis_testkit::{StubAuthenticateLayer, TestRequest};
use tower::ServiceBuilder;

use crate::support::{Endpoint, send};

mod corpus;
mod mapping;
mod mistakes;
mod provider;
mod schema;
mod verdicts;

/// What is answered where `policies` decide, and the reason that the decision has.
async fn ask(policies: &CedarPolicies, request: TestRequest) -> (u16, String) {
    let (status, context) = sent(policies, request).await;
    let decision = context.decision().unwrap();
    assert_eq!(decision.allows(context.route().unwrap()), status == 200);
    (status, decision.reason().to_owned())
}

async fn sent(policies: &CedarPolicies, request: TestRequest) -> (u16, Context) {
    let routes = Routes::builder()
        .any("/orders/{id}", Endpoint::default())
        .rule(policy("cedar"))
        .name("order")
        .any("/shelves/{shelf}/{*book}", Endpoint::default())
        .rule(policy("cedar"))
        .build()
        .unwrap();
    let layers = ServiceBuilder::new()
        .layer(EdgeLayer::new())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(Roles::default()).policy("cedar", policies.clone()));
    let (status, context) = send(layers.service(routes.into_service()), request).await;
    (status.as_u16(), context)
}

/// What `policies` think of what the caller of a request wants to do with an object.
async fn object(
    policies: &CedarPolicies,
    request: TestRequest,
    action: &str,
    resource: &Resource,
) -> Opinion {
    // Somebody has to let the caller in first.
    let gate = CedarPolicies::new("permit(principal, action, resource);").unwrap();
    let (_, context) = sent(&gate, request).await;
    let layer = AuthorizeLayer::new(Roles::default()).policy("cedar", policies.clone());
    let authorizer: Authorizer = layer.authorizer();
    let (head, ()) = http::Request::new(()).into_parts();
    authorizer.ask("cedar", &context, &head, (action, resource)).await
}
