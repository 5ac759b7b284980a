//! The authentication layer.
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds::CONTEXT_CONFLICT;
use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{
    AuthState, Body, BoxError, Challenges, ConsumedCredentials, Context, Problem, Refusable, Route,
    stage,
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
    type Future = Refusable<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        match self.schemes.identify(&context, &request) {
            Ok(()) => Refusable::calling(self.inner.call(request)),
            Err(problem) => Refusable::answered(problem.respond(&context)),
        }
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
