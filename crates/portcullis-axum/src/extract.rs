//! Extractors for what the layers found out.
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use portcullis_core::problem::kinds::AUTHENTICATION_MISSING;
use portcullis_core::{AuthState, Context, Identity};
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::kinds::CLAIMS_INSUFFICIENT;

/// Who is asking, as the type that the application wants.
///
/// Rejects with 401 when the caller is anonymous, and with 500 `authentication-missing` when no layer has found out who
/// calls, or could have. On a public route no credential is looked at, so everybody is anonymous there: a handler that
/// wants to know who calls stands behind `optional()` or more. `Option<Caller<U>>` takes an anonymous caller as `None`.
///
/// ```
/// use portcullis_axum::Caller;
/// use portcullis_core::Identity;
///
/// async fn hello(Caller(who): Caller<Identity>) -> String {
///     format!("hello {}", who.subject())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller<U>(pub U);

/// What [`Caller`] can hand out: the identity itself, or a type that an application makes of it.
pub trait FromIdentity: Sized {
    /// Makes the value.
    ///
    /// # Errors
    /// A problem to answer with, when this identity cannot be one.
    fn from_identity(identity: &Identity) -> Result<Self, portcullis_core::Problem>;
}

impl FromIdentity for Identity {
    fn from_identity(identity: &Identity) -> Result<Self, portcullis_core::Problem> {
        Ok(identity.clone())
    }
}

/// What the caller's token says, as a type of the application's own. A token that does not say it is 403 `claims-insufficient`: it is valid, and not
/// what this handler needs.
///
/// ```
/// use portcullis_axum::{Caller, Claims};
///
/// #[derive(serde::Deserialize)]
/// struct Employee {
///     sub: String,
///     email: String,
/// }
///
/// async fn hello(Caller(Claims(who)): Caller<Claims<Employee>>) -> String {
///     format!("hello {}, {}", who.sub, who.email)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims<T>(pub T);

impl<T: DeserializeOwned> FromIdentity for Claims<T> {
    fn from_identity(identity: &Identity) -> Result<Self, portcullis_core::Problem> {
        let claims = T::deserialize(identity.claims().clone());
        claims.map(Self).map_err(|error| {
            // Which one is missing is for the log: a client need not know what we look at.
            portcullis_core::Problem::new(CLAIMS_INSUFFICIENT).cause(error)
        })
    }
}

impl<S: Sync, U: FromIdentity> FromRequestParts<S> for Caller<U> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller =
            <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        let auth = || Context::get(&parts.extensions).and_then(Context::auth);
        caller.ok_or_else(|| challenged(auth()))
    }
}

/// 401 with the challenges that authentication left; 500 where there is no way to authenticate.
pub(crate) fn challenged(auth: Option<&AuthState>) -> Problem {
    let no_scheme = || {
        let cause = "a handler asks who is calling, and the authentication layer has no scheme";
        portcullis_core::Problem::new(AUTHENTICATION_MISSING).cause(cause)
    };
    auth.and_then(AuthState::challenge).unwrap_or_else(no_scheme).into()
}

impl<S: Sync, U: FromIdentity> OptionalFromRequestParts<S> for Caller<U> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(auth) = Context::get(&parts.extensions).and_then(Context::auth) else {
            let cause =
                "no layer has found out who is calling: put an authentication layer in front";
            return Err(Problem::new(AUTHENTICATION_MISSING).cause(cause));
        };
        Ok(auth.identity().map(U::from_identity).transpose()?.map(Self))
    }
}

/// The [`Context`] of the request: request id, client address, route, decision.
///
/// Rejects with 500 `authentication-missing` when none of our layers has seen the request.
#[derive(Clone, Debug)]
pub struct RequestContext(pub Context);

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let context = Context::get(&parts.extensions).cloned();
        let missing =
            || Problem::new(AUTHENTICATION_MISSING).cause("no layer of ours has seen the request");
        context.map(Self).ok_or_else(missing)
    }
}
