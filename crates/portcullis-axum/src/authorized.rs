//! Extractors for what the caller may do.
use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use portcullis_authz::{Authorizer, Columns, Filter, Resource};
use portcullis_core::problem::kinds::AUTHORIZATION_MISSING;
use portcullis_core::{Context, Identity};

use crate::Problem;
use crate::extract::challenged;

/// Who is asking, and what they may do with which object: for the handler of a route that is
/// [`object_checked`](portcullis_core::Rule::object_checked). It decides by the roles of the layer in front, as they are at that moment.
///
/// Rejects with 401 when the caller is anonymous, and with 500 `authorization-missing` when no `AuthorizeLayer` has decided about the request. On a
/// public route everybody is anonymous. `Option<Authorized>` takes an anonymous caller as `None`.
///
/// ```
/// use axum::extract::Path;
/// use portcullis_authz::{AuthorizeLayer, Resource, Roles};
/// use portcullis_axum::{Authorized, Guarded, Problem, get};
/// use portcullis_core::{EdgeLayer, Stack, require};
/// use portcullis_testkit::{StubAuthenticateLayer, TestClient, as_user};
///
/// async fn order(authorized: Authorized, Path(id): Path<String>) -> Result<String, Problem> {
///     // From a database, in earnest.
///     let order = Resource::new("order", id).owner("test||ada");
///     authorized.check("orders:read", &order)?;
///     Ok(format!("order {}", order.id()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let api = Guarded::new().route("/orders/{id}", get(order), require("orders:read").object_checked());
/// let roles = Roles::builder().role("customer").permits_own("orders:read").build()?;
/// let stack = Stack::new()
///     .layer(EdgeLayer::default())
///     .layer(api.route_layer())
///     .layer(StubAuthenticateLayer::new())
///     .layer(AuthorizeLayer::new(roles));
/// let client = TestClient::new(stack.around(api)?);
/// let (ada, eve) = (as_user("ada").roles(["customer"]), as_user("eve").roles(["customer"]));
/// client.get("/orders/7").as_user(ada).send().await.assert_status(200);
/// client.get("/orders/7").as_user(eve).send().await.assert_problem("permission-denied");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authorized {
    context: Context,
    identity: Identity,
    authorizer: Authorizer,
}

impl Authorized {
    /// Who is asking.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// What decides, for whatever is asked about somebody else, or after the answer has begun. What it is asked counts as no look at the object of this
    /// request, and stands in no log.
    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }
    /// Whether the caller may do `action` (a permission) with the object.
    ///
    /// # Errors
    /// 403 `permission-denied`; 503 `authorization-unavailable` where it cannot be told. A handler whose callers should not learn which objects there are
    /// answers 404 in place of the 403.
    pub fn check(&self, action: &str, resource: &Resource) -> Result<(), Problem> {
        Ok(self.authorizer.check_in(&self.context, action, resource)?)
    }
    /// Whether the caller may do `action` with the object; `false` too when it cannot be told.
    pub fn may(&self, action: &str, resource: &Resource) -> bool {
        self.check(action, resource).is_ok()
    }
    /// Which rows of a table the caller may do `action` with, as a condition of SQL: for lists.
    ///
    /// # Errors
    /// 503 `authorization-unavailable` where it cannot be told.
    pub fn filter(&self, action: &str, columns: Columns) -> Result<Filter, Problem> {
        Ok(self.authorizer.filter_in(&self.context, action, columns)?)
    }
    /// `None` for a caller nobody knows.
    fn of(parts: &Parts) -> Result<Option<Self>, Problem> {
        let nobody_decided = |cause: &'static str| Problem::new(AUTHORIZATION_MISSING).cause(cause);
        let Some(context) = Context::get(&parts.extensions).cloned() else {
            return Err(nobody_decided("no layer of ours has seen the request"));
        };
        let authorizer = Authorizer::of(&context).cloned();
        match (context.identity().cloned(), authorizer) {
            (Some(identity), Some(authorizer)) => Ok(Some(Self { context, identity, authorizer })),
            (None, authorizer) if authorizer.is_some() || context.decision().is_some() => Ok(None),
            _ => Err(nobody_decided(
                "a handler asks what its caller may do, and no `AuthorizeLayer` has decided about the request",
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Authorized {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let auth = || Context::get(&parts.extensions).and_then(Context::auth);
        Self::of(parts)?.ok_or_else(|| challenged(auth()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Authorized {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Self::of(parts)
    }
}

impl fmt::Debug for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized").field("identity", &self.identity.key()).finish_non_exhaustive()
    }
}

/// A permission, as a type: what [`Require`] asks for.
pub trait Permission {
    /// Its name: `orders:write`.
    const NAME: &'static str;
}

/// Who is asking, who has the permission `P` too: for a handler that asks for more than its route does.
///
/// The roles of the layer in front decide, as about the route. It rejects as [`Authorized`] does, with 403 `permission-denied` for a caller who lacks the
/// permission or has it with some objects alone, and with 503 `authorization-unavailable` where it cannot be told.
///
/// What the route itself asks is known when the stack is built, and stands in its matrix; what a handler asks beside it does not. Say it at the route wherever
/// the route can say it. A permission that no role grants is refused to everybody.
///
/// ```
/// use portcullis_authz::{AuthorizeLayer, Roles};
/// use portcullis_axum::{Guarded, Permission, Require, get};
/// use portcullis_core::{EdgeLayer, Stack, authenticated};
/// use portcullis_testkit::{StubAuthenticateLayer, TestClient, as_user};
///
/// struct SeePrices;
/// impl Permission for SeePrices {
///     const NAME: &'static str = "prices:read";
/// }
///
/// async fn price(Require(who, ..): Require<SeePrices>) -> String {
///     format!("for {}: 12.50", who.subject())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let api = Guarded::new().route("/price", get(price), authenticated());
/// let roles = Roles::builder().role("clerk").permits("prices:read").role("reader").build()?;
/// let stack = Stack::new()
///     .layer(EdgeLayer::default())
///     .layer(api.route_layer())
///     .layer(StubAuthenticateLayer::new())
///     .layer(AuthorizeLayer::new(roles));
/// let client = TestClient::new(stack.around(api)?);
/// let (ada, eve) = (as_user("ada").roles(["clerk"]), as_user("eve").roles(["reader"]));
/// assert_eq!(client.get("/price").as_user(ada).send().await.text(), "for ada: 12.50");
/// client.get("/price").as_user(eve).send().await.assert_problem("permission-denied");
/// # Ok(())
/// # }
/// ```
pub struct Require<P>(pub Identity, pub PhantomData<fn() -> P>);

impl<S: Sync, P: Permission> FromRequestParts<S> for Require<P> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let authorized =
            <Authorized as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let Authorized { context, identity, authorizer } = authorized;
        authorizer.require_in(&context, P::NAME)?;
        Ok(Self(identity, PhantomData))
    }
}

impl<P> Clone for Require<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<P: Permission> fmt::Debug for Require<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require").field("identity", &self.0.key()).field("has", &P::NAME).finish()
    }
}
