//! The authentication layer.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
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
use crate::bearer::Bearer;
use crate::jwt::JwtIssuer;
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
    bearer: Option<Bearer>,
    /// How to say who one is; and the same to whoever has sent a token that is not good.
    challenges: Challenges,
    invalid_token: Challenges,
    /// What must not travel on; and the same where there is a token of ours.
    consumed: ConsumedCredentials,
    with_token: ConsumedCredentials,
}

impl AuthenticateLayer {
    /// No scheme yet: everybody is anonymous.
    pub fn new() -> Self {
        Self::default()
    }
    /// Accepts these API keys, in place of any that were accepted before.
    #[must_use]
    pub fn api_keys(self, keys: ApiKeys) -> Self {
        self.with(|schemes| schemes.api_keys = Some(keys))
    }
    /// Accepts the tokens of this issuer (`Authorization: Bearer`), beside those of others.
    #[must_use]
    pub fn bearer(self, issuer: JwtIssuer) -> Self {
        self.with(|schemes| {
            let more = schemes.bearer.as_ref().map_or_else(Bearer::new, Bearer::clone).with(issuer);
            schemes.bearer = Some(more);
        })
    }
    fn with(mut self, edit: impl FnOnce(&mut Schemes)) -> Self {
        let schemes = Arc::make_mut(&mut self.schemes);
        edit(schemes);
        let keys = schemes.api_keys.as_ref().map(ApiKeys::challenge);
        let bearer = |challenge| schemes.bearer.as_ref().map(|_| challenge);
        let all =
            |bearer: Option<HeaderValue>| Challenges::new(bearer.into_iter().chain(keys.clone()));
        (schemes.challenges, schemes.invalid_token) =
            (all(bearer(Bearer::CHALLENGE)), all(bearer(Bearer::INVALID)));
        let header = schemes.api_keys.as_ref().map(|keys| keys.header_name().clone());
        let consumed = ConsumedCredentials::none();
        schemes.consumed = header.into_iter().fold(consumed, ConsumedCredentials::header);
        schemes.with_token = schemes.consumed.clone().header(AUTHORIZATION);
        self
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
        plan.errors(self.schemes.bearer.iter().flat_map(Bearer::errors).cloned());
        for issuer in self.schemes.bearer.iter().flat_map(Bearer::issuers) {
            for role in issuer.roles() {
                plan.mentions_role(format!("issuer `{}`", issuer.issuer()), &**role);
            }
        }
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
        let headers = request.headers();
        // Also where nobody looks at them: they are for us, and no upstream's business.
        let has_token = self.bearer.is_some() && Bearer::is_in(headers);
        let consumed = if has_token { &self.with_token } else { &self.consumed };
        context.set_consumed(consumed.clone());
        let public = context.route().is_some_and(|route| Route::access(route).is_public());
        let identity = if public { None } else { self.find(context, headers)? };
        context.note("authenticate", || match &identity {
            Some(identity) => format!("{}", identity.key()),
            None => "anonymous".to_owned(),
        });
        let state = match identity {
            Some(identity) => AuthState::Authenticated(identity),
            None => AuthState::Anonymous(self.challenges.clone()),
        };
        if context.set_auth(state) {
            return Ok(());
        }
        let cause = "two layers authenticate the same request: give one layer all the schemes";
        Err(Problem::new(CONTEXT_CONFLICT).cause(cause))
    }

    /// Whose credentials the request carries.
    fn find(&self, context: &Context, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
        let by_key = self.api_keys.as_ref().map_or(Ok(None), |keys| keys.identify(headers));
        let by_key = by_key.map_err(|error| invalid(context, &self.challenges, error))?;
        let now = context.clock().wall();
        let by_token =
            self.bearer.as_ref().map_or(Ok(None), |bearer| bearer.identify(headers, now));
        let by_token = by_token.map_err(|error| invalid(context, &self.invalid_token, error))?;
        let identity = match (by_key.cloned(), by_token) {
            (Some(_), Some(_)) => {
                let both = Invalid::from("an API key and a token: nobody can say which is meant");
                return Err(invalid(context, &self.challenges, both));
            }
            (one, other) => one.or(other),
        };
        if identity.as_ref().and_then(Identity::revocation).is_some_and(Revocation::is_revoked) {
            return Err(invalid(context, &self.challenges, "one that was revoked".into()));
        }
        Ok(identity)
    }
}

fn invalid(context: &Context, challenges: &Challenges, Invalid(what): Invalid) -> Problem {
    context.note("authenticate", || what.clone());
    challenges.on(Problem::new(CREDENTIALS_INVALID).cause(what.into_owned()))
}
