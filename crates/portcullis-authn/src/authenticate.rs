//! The authentication layer.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::problem::kinds::CONTEXT_CONFLICT;
use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{
    AuthState, Body, BoxError, Challenges, ConsumedCredentials, Context, Identity, Problem,
    Refusable, Revocation, Route, stage,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::api_key::{ApiKeys, Invalid};
use crate::kinds::CREDENTIALS_INVALID;

/// Applies [`Authenticate`]: tells everybody further in who asks.
///
/// Without a scheme everybody is anonymous.
#[derive(Clone, Debug, Default)]
pub struct AuthenticateLayer {
    schemes: Arc<Schemes>,
}

/// What can prove who asks, and what that means for every request.
#[derive(Clone, Debug, Default)]
struct Schemes {
    api_keys: Option<ApiKeys>,
    challenges: Challenges,
    consumed: ConsumedCredentials,
}

impl AuthenticateLayer {
    /// No scheme yet: everybody is anonymous.
    pub fn new() -> Self {
        Self::default()
    }
    /// Accepts these API keys, in place of any that were accepted before.
    #[must_use]
    pub fn api_keys(self, keys: ApiKeys) -> Self {
        let schemes = Schemes {
            challenges: Challenges::new([keys.challenge()]),
            consumed: ConsumedCredentials::none().header(keys.header_name().clone()),
            api_keys: Some(keys),
        };
        Self { schemes: Arc::new(schemes) }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, schemes: Arc::clone(&self.schemes) }
    }
}

impl Staged for AuthenticateLayer {
    type Stage = stage::Authenticate;
    type Needs = ();
    type Provides = KnownCaller;
    fn check(&self, plan: &mut Plan) {
        plan.errors(self.schemes.api_keys.iter().flat_map(ApiKeys::errors).cloned());
        for identity in self.schemes.api_keys.iter().flat_map(ApiKeys::identities) {
            for role in identity.roles() {
                plan.mentions_role(format!("API key `{}`", identity.subject()), role);
            }
        }
    }
}

/// Tells everybody further in who asks; answers 401 for a credential that is not valid.
///
/// An answer ends with the identity that it is for. When its [`Revocation`] is set, a body that is still under way ends
/// with the error [`Revoked`](portcullis_core::Revoked). Where the connection changes its protocol (101, and the answer to
/// CONNECT), the `Revocation` stands in the response's extensions, so that the server can close it then.
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    inner: S,
    schemes: Arc<Schemes>,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Authenticate<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthenticateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        if let Err(problem) = self.schemes.identify(&context, &request) {
            let call = Refusable::answered(problem.respond(&context));
            return AuthenticateFuture { call, revocation: None, tunnels: false };
        }
        let revocation = context.identity().and_then(Identity::revocation).cloned();
        let tunnels = request.method() == Method::CONNECT;
        AuthenticateFuture {
            call: Refusable::calling(self.inner.call(request)),
            revocation,
            tunnels,
        }
    }
}

pin_project! {
    /// The response future of [`Authenticate`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct AuthenticateFuture<F> {
        #[pin]
        call: Refusable<F>,
        // None for an identity that stays good.
        revocation: Option<Revocation>,
        tunnels: bool,
    }
}

impl<F, B, E> Future for AuthenticateFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        Poll::Ready(Ok(match this.revocation.take() {
            None => response,
            Some(revocation)
                if response.status() == StatusCode::SWITCHING_PROTOCOLS
                    || (*this.tunnels && response.status().is_success()) =>
            {
                response.extensions_mut().insert(revocation);
                response
            }
            Some(revocation) => response.map(|body| body.until(revocation)),
        }))
    }
}

impl Schemes {
    /// Leaves in the context who asks, and what must not travel on.
    fn identify<B>(&self, context: &Context, request: &Request<B>) -> Result<(), Problem> {
        // Also where nobody looks at the key: it is ours, and no upstream's business.
        context.set_consumed(self.consumed.clone());
        let public = context.route().is_some_and(|route| Route::access(route).is_public());
        let keys = self.api_keys.as_ref().filter(|_| !public);
        let identity = keys.map_or(Ok(None), |keys| keys.identify(request.headers()));
        let revoked =
            |identity: &&Identity| identity.revocation().is_some_and(Revocation::is_revoked);
        let identity = match identity {
            Ok(Some(identity)) if revoked(&identity) => Err(Invalid("one that was revoked")),
            identity => identity,
        };
        let identity = identity.map_err(|error| self.invalid(context, error))?;
        context.note("authenticate", || match identity {
            Some(identity) => format!("{}", identity.key()),
            None => "anonymous".to_owned(),
        });
        let state = match identity {
            Some(identity) => AuthState::Authenticated(identity.clone()),
            None => AuthState::Anonymous(self.challenges.clone()),
        };
        if context.set_auth(state) {
            return Ok(());
        }
        let cause = "two layers authenticate the same request: give one layer all the schemes";
        Err(Problem::new(CONTEXT_CONFLICT).cause(cause))
    }

    fn invalid(&self, context: &Context, Invalid(what): Invalid) -> Problem {
        context.note("authenticate", || what);
        self.challenges.on(Problem::new(CREDENTIALS_INVALID).cause(what))
    }
}
