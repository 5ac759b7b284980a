//! Who asks, where, and by which routes.
use std::sync::Arc;

use http::Request;
use portcullis_cache::{CacheExt, Cached, Scope};
use portcullis_core::{
    AuthState, Body, Challenges, Context, Decision, Identity, IdentityBuilder, Requirement, Route,
    RouteTable, Routes, Verdict, authenticated, optional, public,
};

/// Somebody who asks.
pub(crate) struct Caller {
    /// Who authentication says it is.
    pub(crate) identity: Option<Identity>,
    /// Whether authentication has run.
    is_looked_at: bool,
    /// What it sends that may say who it is, and no layer has read.
    pub(crate) field: Option<(&'static str, &'static str)>,
    /// Callers with the same number have the same issuer, tenant and rights.
    pub(crate) group: Option<u8>,
}

impl Caller {
    pub(crate) fn is_nobody(&self) -> bool {
        self.identity.is_none() && self.field.is_none()
    }
}

fn ada(tenant: &str) -> IdentityBuilder {
    Identity::builder("shop", "ada").tenant(tenant)
}

fn eve() -> IdentityBuilder {
    Identity::builder("shop", "eve").tenant("acme")
}

/// All of them. Most differ from another one in a single thing.
pub(crate) fn all() -> Vec<Caller> {
    let known = |identity: IdentityBuilder, group| {
        let identity = Some(identity.build());
        Caller { identity, is_looked_at: true, field: None, group }
    };
    let raw = |is_looked_at, field| Caller { identity: None, is_looked_at, field, group: None };
    let of_another_issuer = Identity::builder("partner", "ada").tenant("acme").role("reader");
    vec![
        known(ada("acme").role("reader").session("one"), Some(0)),
        known(ada("acme").role("reader").session("two"), Some(0)),
        known(ada("acme").role("reader").role("admin"), Some(1)),
        known(eve().role("reader"), Some(0)),
        known(eve().role("reader5:admin"), Some(2)),
        known(eve().role("reader").plan("gold"), Some(3)),
        known(eve().role("reader").scopes(["books"]), Some(4)),
        known(Identity::builder("shop", "mallory").tenant("umbrella").role("reader"), Some(5)),
        known(ada("umbrella").role("reader").session("one"), Some(5)),
        known(of_another_issuer.session("one"), Some(6)),
        // Without a tenant there is nobody to share with.
        known(Identity::builder("shop", "ada").role("reader").session("one"), None),
        known(Identity::builder("shop", "loner").role("reader"), None),
        raw(true, None),
        raw(false, None),
        raw(false, Some(("authorization", "Bearer ada"))),
        raw(false, Some(("authorization", "Bearer mallory"))),
        raw(false, Some(("cookie", "sid=ada"))),
        raw(false, Some(("cookie", "sid=mallory"))),
        raw(true, Some(("cookie", "sid=eve"))),
        raw(true, Some(("authorization", "Basic ZXZl"))),
    ]
}

/// The paths of the routes, in their order; the last has none.
pub(crate) const PATHS: [&str; 11] = [
    "/public",
    "/public-tenant",
    "/public-identity",
    "/optional",
    "/optional-tenant",
    "/known",
    "/known-tenant",
    "/known-ttl",
    "/purging",
    "/plain",
    "/none",
];

/// The table of all but the last.
pub(crate) fn table() -> Arc<RouteTable> {
    let shared_by = |scope| Cached::new().scope(scope);
    let for_a_while = Cached::new().default_ttl(std::time::Duration::from_secs(30));
    let routes = Routes::builder()
        .any("/public/{book}", ())
        .rule(public().cached())
        .any("/public-tenant/{book}", ())
        .rule(public().cached_as(shared_by(Scope::Tenant)))
        .any("/public-identity/{book}", ())
        .rule(public().cached_as(shared_by(Scope::Identity)))
        .any("/optional/{book}", ())
        .rule(optional().cached())
        .any("/optional-tenant/{book}", ())
        .rule(optional().cached_as(shared_by(Scope::Tenant)))
        .any("/known/{book}", ())
        .rule(authenticated().cached())
        .any("/known-tenant/{book}", ())
        .rule(authenticated().cached_as(shared_by(Scope::Tenant)))
        .any("/known-ttl/{book}", ())
        .rule(authenticated().cached_as(for_a_while))
        .any("/purging/{book}", ())
        .rule(authenticated().cached_as(Cached::new().purges()))
        .any("/plain/{book}", ())
        .rule(authenticated())
        .build()
        .expect("the table is in order");
    Arc::clone(routes.table())
}

/// Says in the context of a request what the layers in front of a cache have found out.
pub(crate) fn introduce(
    caller: &Caller,
    route: Option<&Route>,
    is_decided: bool,
    request: &mut Request<Body>,
    clock: &portcullis_core::Clock,
) {
    let context = Context::with_clock(request, clock);
    if let Some(route) = route {
        context.set_route(route.clone());
    }
    match &caller.identity {
        Some(identity) => _ = context.set_auth(AuthState::Authenticated(identity.clone())),
        None if caller.is_looked_at => {
            _ = context.set_auth(AuthState::Anonymous(Challenges::default()));
        }
        None => {}
    }
    if is_decided {
        let rule =
            route.map_or(Requirement::Authenticated, |route| route.access().requirement().clone());
        context.set_decision(Decision::new(Verdict::Allow, route.cloned(), rule, "a test"));
    }
}

/// Who shares an answer of which nothing says that everybody may, as the documentation of `Scope` has it.
pub(crate) fn scope_of(context: &Context) -> Scope {
    let is_decided =
        context.decision().is_some_and(|decision| decision.verdict() == Verdict::Allow);
    if context.identity().is_none() || !is_decided {
        return Scope::Public;
    }
    let Some(route) = context.route() else { return Scope::Identity };
    let by_default = if route.access().is_public() { Scope::Public } else { Scope::Identity };
    route.options().get::<Cached>().and_then(Cached::shared_by).unwrap_or(by_default)
}
