//! Whoever the test wants to be.
use std::sync::Arc;

use portcullis_core::stack::{KnownCaller, Staged};
use portcullis_core::{Identity, IdentityBuilder, IdentityKind, stage};
use tower_layer::Layer;

use crate::StubAuthenticate;

/// A person, as the test wants them to be: a caller in a request, and a layer that makes every request theirs.
///
/// In a request, [`TestRequest::as_user`](crate::TestRequest::as_user) says it, and the
/// [`StubAuthenticateLayer`](crate::StubAuthenticateLayer) in the stack believes it. As a layer, it stands where the
/// real authenticator does:
///
/// ```
/// use portcullis_core::{Body, EdgeLayer, Stack};
/// use portcullis_testkit::as_user;
/// # fn with<S: Clone>(application: S) -> Result<(), portcullis_core::ConfigErrors> {
/// let service = Stack::new()
///     .layer(EdgeLayer::new())
///     .layer(as_user("alice").roles(["clerk"]).tenant("acme").plan("pro"))
///     .service(application)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is a caller only where a request or a stack has it"]
pub struct AsUser(IdentityBuilder);

/// A person called `subject`, whom the issuer `test` vouches for. For a route that takes callers of one issuer alone, an
/// [`IdentityBuilder`] of that issuer is one too: `Identity::builder("https://id.example", "alice")`.
pub fn as_user(subject: impl Into<Arc<str>>) -> AsUser {
    AsUser(Identity::builder("test", subject))
}

/// A service called `subject`, which the issuer `test` vouches for.
pub fn as_service(subject: impl Into<Arc<str>>) -> AsUser {
    as_user(subject).with(|identity| identity.kind(IdentityKind::Service))
}

impl AsUser {
    /// Adds roles. Default: none.
    pub fn roles<R: Into<Arc<str>>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        self.with(|identity| identity.roles(roles))
    }
    /// Adds scopes. Default: none.
    pub fn scopes<R: Into<Arc<str>>>(self, scopes: impl IntoIterator<Item = R>) -> Self {
        self.with(|identity| identity.scopes(scopes))
    }
    /// The tenant. Default: none.
    pub fn tenant(self, tenant: impl Into<Arc<str>>) -> Self {
        self.with(|identity| identity.tenant(tenant))
    }
    /// The plan that the limits follow. Default: none.
    pub fn plan(self, plan: impl Into<Arc<str>>) -> Self {
        self.with(|identity| identity.plan(plan))
    }
    /// Says the rest: assurance, session, claims, and whatever else an identity has.
    ///
    /// ```
    /// # use portcullis_testkit::as_user;
    /// let alice = as_user("alice").with(|identity| identity.method("otp").assurance(2));
    /// assert_eq!(alice.identity().assurance(), Some(2));
    /// ```
    pub fn with(self, edit: impl FnOnce(IdentityBuilder) -> IdentityBuilder) -> Self {
        Self(edit(self.0))
    }
    /// The identity.
    pub fn identity(&self) -> Identity {
        self.0.clone().build()
    }
}

impl From<IdentityBuilder> for AsUser {
    fn from(builder: IdentityBuilder) -> Self {
        Self(builder)
    }
}

impl From<&str> for AsUser {
    fn from(subject: &str) -> Self {
        as_user(subject)
    }
}

impl<S> Layer<S> for AsUser {
    type Service = StubAuthenticate<S>;
    fn layer(&self, inner: S) -> Self::Service {
        StubAuthenticate::always(inner, self.identity())
    }
}

impl Staged for AsUser {
    type Stage = stage::Authenticate;
    type Needs = ();
    type Provides = KnownCaller;
}
