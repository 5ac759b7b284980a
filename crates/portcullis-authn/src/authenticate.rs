//! The authentication layer.
use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::problem::Source;
use portcullis_core::problem::kinds::CONTEXT_CONFLICT;
use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{
    AuthState, Body, BoxError, Challenges, ConfigError, ConsumedCredentials, Context, Identity,
    Problem, Refusable, Revocation, Route, RouteTable, stage,
};
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use crate::api_key::{ApiKeys, Invalid, KeyVerdict};
use crate::bearer::{Bearer, Carried, Looked, Scheme, Verdict, takes};
use crate::certificate::ClientCertificates;
use crate::kinds::{AUTHENTICATION_UNAVAILABLE, CREDENTIALS_INVALID, REQUEST_CROSS_SITE};
use crate::proof::{self, Asked, SeenProofs};
use crate::session::{Loaded, Opened, Session, Sessions, StoreError};
use crate::stored_key::FoundKey;
use crate::token::TokenIssuer;

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
    certificates: Option<ClientCertificates>,
    sessions: Option<Sessions>,
    /// How to say who one is.
    challenges: Challenges,
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
    pub fn bearer(self, issuer: TokenIssuer) -> Self {
        self.with_bearer(|bearer| bearer.with(issuer))
    }
    /// Knows these callers by the certificate of their connection, in place of any that were known before.
    #[must_use]
    pub fn certificates(self, certificates: ClientCertificates) -> Self {
        self.with(|schemes| schemes.certificates = Some(certificates))
    }
    /// Knows callers by the sessions of their browsers, in place of any that were known before. A key or a token in the request goes before them.
    #[must_use]
    pub fn sessions(self, sessions: Sessions) -> Self {
        self.with(|schemes| schemes.sessions = Some(sessions))
    }
    /// How many tokens that were good are remembered, so that they need not be verified again. Default: 10,000; 0 remembers none.
    #[must_use]
    pub fn remembered_tokens(self, most: usize) -> Self {
        self.with_bearer(|bearer| bearer.with_memory(most))
    }
    /// Shares with other layers which proofs have come with tokens. Default: the layer, and what is made of it, has its own.
    #[must_use]
    pub fn seen_proofs(self, seen: SeenProofs) -> Self {
        self.with_bearer(|bearer| bearer.with_proofs(seen))
    }
    fn with_bearer(self, edit: impl FnOnce(&Bearer) -> Bearer) -> Self {
        self.with(|schemes| {
            schemes.bearer = Some(edit(schemes.bearer.as_ref().unwrap_or(&Bearer::new())));
        })
    }
    fn with(mut self, edit: impl FnOnce(&mut Schemes)) -> Self {
        let schemes = Arc::make_mut(&mut self.schemes);
        edit(schemes);
        schemes.challenges = schemes.challenges_for(None, None);
        let header = schemes.api_keys.as_ref().map(|keys| keys.header_name().clone());
        let cookie = schemes.sessions.as_ref().map(|sessions| Arc::clone(sessions.cookie_name()));
        let consumed =
            cookie.into_iter().fold(ConsumedCredentials::none(), ConsumedCredentials::cookie);
        schemes.consumed = header.into_iter().fold(consumed, ConsumedCredentials::header);
        schemes.with_token = schemes.consumed.clone().header(AUTHORIZATION).header(proof::HEADER);
        self
    }
}

impl AuthenticateLayer {
    /// Issuers that routes take callers of, and that nobody here is.
    fn unknown_issuers(&self, plan: &Plan) -> Vec<ConfigError> {
        let Schemes { api_keys, bearer, certificates, .. } = &*self.schemes;
        let tokens = bearer.iter().flat_map(Bearer::issuers).map(TokenIssuer::issuer);
        let known = tokens
            .chain(api_keys.iter().map(|_| ApiKeys::ISSUER))
            .chain(certificates.iter().map(|_| ClientCertificates::ISSUER));
        let known: Vec<_> = known.collect();
        if self.schemes.sessions.is_some() {
            // Whoever logs somebody in says who vouches for them.
            return Vec::new();
        }
        let routes = plan.table().into_iter().flat_map(RouteTable::routes);
        let mut errors = Vec::new();
        for route in routes {
            for issuer in route.access().issuers().filter(|issuer| !known.contains(issuer)) {
                let known = known.join("`, `");
                let message = format!(
                    "it takes callers of `{issuer}`, which nobody here is: known are `{known}`"
                );
                errors.push(ConfigError::new(format!("route `{route}`"), message));
            }
        }
        errors
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
        plan.errors(self.schemes.certificates.iter().flat_map(ClientCertificates::errors).cloned());
        for identity in self.schemes.certificates.iter().flat_map(ClientCertificates::identities) {
            for role in identity.roles() {
                plan.mentions_role(format!("certificate of `{}`", identity.subject()), role);
            }
        }
        plan.errors(self.schemes.bearer.iter().flat_map(Bearer::errors).cloned());
        plan.errors(self.schemes.sessions.iter().flat_map(Sessions::errors));
        if self.schemes.sessions.as_ref().is_some_and(Sessions::is_insecure) {
            tracing::warn!(
                "sessions go over plain HTTP: everybody on the way can be anybody. For development alone."
            );
        }
        if let Some(bearer) = &self.schemes.bearer {
            let ambiguous = ambiguous(bearer, plan);
            plan.errors(ambiguous);
        }
        for issuer in self.schemes.bearer.iter().flat_map(Bearer::issuers) {
            for role in issuer.roles() {
                plan.mentions_role(format!("issuer `{}`", issuer.issuer()), &**role);
            }
        }
        // They are kept by their digests, and told by their names.
        let keys = self.schemes.api_keys.iter().flat_map(ApiKeys::identities);
        let roles = keys.flat_map(|key| key.roles().map(|role| (key.subject(), role)));
        for (key, role) in roles.collect::<BTreeSet<_>>() {
            plan.mentions_role(format!("API key `{key}`"), role);
        }
        let unknown = self.unknown_issuers(plan);
        plan.errors(unknown);
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
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthenticateFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        let asked = self.schemes.asked(&context, &request);
        self.schemes.consume(asked);
        match self.schemes.identify(asked, None) {
            Found::Refused(problem) => AuthenticateFuture::refused(problem.respond(&context)),
            Found::State(state, session) => {
                AuthenticateFuture::calling(&mut self.inner, request, &context, state, session)
            }
            Found::Look(look) => {
                // The clone may not be ready: keep it, and move out the one that is.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                let schemes = Arc::clone(&self.schemes);
                // Whatever is asked for comes in the time that the request has, or not for it.
                let left = context.deadline().remaining(context.clock().now()).unwrap_or(LONGEST);
                let look = timeout(left.min(LONGEST), look);
                let look = Box::pin(async move { look.await.unwrap_or(Looked::Nothing) });
                let waiting = Box::new(Waiting { look, inner, request, context, schemes });
                AuthenticateFuture {
                    call: None,
                    waiting: Some(waiting),
                    revocation: None,
                    session: None,
                    tunnels: false,
                }
            }
        }
    }
}

/// On which routes nobody could say which issuer is to be asked about a token.
fn ambiguous(bearer: &Bearer, plan: &Plan) -> Vec<ConfigError> {
    let how = "cannot be told apart: give each a `prefix` that its tokens begin with and the other's do not, or say on the route whose callers it takes";
    let message = |[one, other]: [&str; 2]| format!("opaque tokens of `{one}` and `{other}` {how}");
    let Some(table) = plan.table() else {
        let error = bearer.ambiguous(None).map(message);
        return error
            .map(|error| ConfigError::new("AuthenticateLayer", error))
            .into_iter()
            .collect();
    };
    let routes = table.routes().filter(|route| !route.access().is_public());
    let errors = routes.filter_map(|route| {
        let issuers = bearer.ambiguous(Some(&route))?;
        Some(ConfigError::new(format!("route `{route}`"), message(issuers)))
    });
    errors.collect()
}

/// How long a request may wait for whoever is asked about its credentials.
const LONGEST: Duration = Duration::from_secs(5);

/// A request about whose token somebody is being asked.
struct Waiting<S, R> {
    look: Pin<Box<dyn Future<Output = Looked> + Send>>,
    inner: S,
    request: Request<R>,
    context: Context,
    schemes: Arc<Schemes>,
}

pin_project! {
    /// The response future of [`Authenticate`].
    #[must_use = "futures do nothing unless polled"]
    pub struct AuthenticateFuture<S, R>
    where
        S: Service<Request<R>>,
    {
        #[pin]
        call: Option<Refusable<S::Future>>,
        waiting: Option<Box<Waiting<S, R>>>,
        // None for an identity that stays good.
        revocation: Option<Revocation>,
        // None where nobody has sessions.
        session: Option<Session>,
        tunnels: bool,
    }
}

impl<S: Service<Request<R>>, R> AuthenticateFuture<S, R> {
    fn refused(answer: Response<Body>) -> Self {
        let call = Some(Refusable::answered(answer));
        Self { call, waiting: None, revocation: None, session: None, tunnels: false }
    }
    fn calling(
        inner: &mut S,
        mut request: Request<R>,
        context: &Context,
        state: AuthState,
        session: Option<Session>,
    ) -> Self {
        let revocation = state.identity().and_then(Identity::revocation).cloned();
        if !context.set_auth(state) {
            let cause = "two layers authenticate the same request: give one layer all the schemes";
            let problem = Problem::new(CONTEXT_CONFLICT).cause(cause);
            return Self::refused(problem.respond(context));
        }
        let tunnels = request.method() == Method::CONNECT;
        if let Some(session) = &session {
            request.extensions_mut().insert(session.clone());
        }
        let call = Some(Refusable::calling(inner.call(request)));
        Self { call, waiting: None, revocation, session, tunnels }
    }
}

impl<S: Service<Request<R>>, R> fmt::Debug for AuthenticateFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.waiting.is_some();
        f.debug_struct("AuthenticateFuture").field("waits", &waits).finish_non_exhaustive()
    }
}

impl<S, R, B> Future for AuthenticateFuture<S, R>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut looked = None;
        if let Some(waiting) = self.as_mut().project().waiting {
            looked = Some(ready!(waiting.look.as_mut().poll(cx)));
        }
        if let Some(waiting) = self.as_mut().project().waiting.take() {
            let Waiting { mut inner, request, context, schemes, .. } = *waiting;
            let next = match schemes.identify(schemes.asked(&context, &request), looked) {
                Found::State(state, session) => {
                    Self::calling(&mut inner, request, &context, state, session)
                }
                Found::Refused(problem) => Self::refused(problem.respond(&context)),
                Found::Look(_) => Self::refused(unavailable().respond(&context)),
            };
            self.set(next);
        }
        let this = self.project();
        let call = this.call.as_pin_mut().expect("who does not wait has begun");
        let mut response = ready!(call.poll(cx))?;
        if let Some(session) = this.session.take() {
            session.say(response.headers_mut());
        }
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

/// What came of a look at a request.
enum Found {
    State(AuthState, Option<Session>),
    Refused(Problem),
    /// It is found out when this is over.
    Look(Pin<Box<dyn Future<Output = Looked> + Send>>),
}

impl Schemes {
    fn has_issuers(&self) -> bool {
        self.bearer.as_ref().is_some_and(|bearer| !bearer.issuers().is_empty())
    }
    /// What a request is for, as far as credentials have to do with it.
    fn asked<'a, R>(&self, context: &'a Context, request: &'a Request<R>) -> Asked<'a> {
        let headers = request.headers();
        let token = if self.has_issuers() { Carried::by(headers) } else { Carried::Nothing };
        Asked { context, headers, method: request.method(), uri: request.uri(), token }
    }
    /// Leaves in the context what must not travel on: also where nobody looks at it, for it is for us, and no upstream's business.
    fn consume(&self, Asked { context, headers, token, .. }: Asked<'_>) {
        let has_name = || self.api_keys.as_ref().is_some_and(|keys| keys.is_basic_in(headers));
        let consumed =
            if token.is_ours() || has_name() { &self.with_token } else { &self.consumed };
        context.set_consumed(consumed.clone());
    }
    /// How to say who one is, and what was wrong with how somebody said it.
    fn challenges_for(&self, route: Option<&Route>, wrong: Option<(Scheme, &str)>) -> Challenges {
        let tokens = self.bearer.iter().flat_map(|bearer| bearer.challenges(route, wrong));
        let keys = self.api_keys.iter().filter(|_| takes(route, ApiKeys::ISSUER));
        let form = self.sessions.as_ref().and_then(Sessions::challenge);
        let all = Challenges::new(tokens.chain(keys.flat_map(ApiKeys::challenges)).chain(form));
        match self.sessions.as_ref().and_then(Sessions::log_in_path) {
            Some(path) => all.log_in(Arc::clone(path)),
            None => all,
        }
    }
    /// How to say who one is on a route.
    fn challenges_on(&self, route: Option<&Route>) -> Challenges {
        let takes_some = route.is_some_and(|route| Route::access(route).issuers().len() > 0);
        if takes_some { self.challenges_for(route, None) } else { self.challenges.clone() }
    }
    /// Who asks. What was looked up comes with it the second time.
    fn identify(&self, asked: Asked<'_>, looked: Option<Looked>) -> Found {
        let context = asked.context;
        let public = context.route().is_some_and(|route| Route::access(route).is_public());
        let found = if public { Ok((None, None)) } else { self.find(asked, looked) };
        let (identity, session) = match found {
            Ok(found) => found,
            Err(other) => return other,
        };
        context.note("authenticate", || match &identity {
            Some(identity) => format!("{}", identity.key()),
            None => "anonymous".to_owned(),
        });
        let state = match identity {
            Some(identity) => AuthState::Authenticated(identity),
            None => AuthState::Anonymous(self.challenges_on(context.route())),
        };
        Found::State(state, session)
    }
    /// Whose credentials the request carries.
    fn find(
        &self,
        asked: Asked<'_>,
        looked: Option<Looked>,
    ) -> Result<(Option<Identity>, Option<Session>), Found> {
        let context = asked.context;
        let now = context.clock().wall();
        let (looked, loaded, stored) = match looked {
            Some(Looked::Session(loaded)) => (None, Some(loaded), None),
            Some(Looked::Key(stored)) => (None, None, Some(stored)),
            looked => (looked, None, None),
        };
        let by_key = self.by_key(asked, now, stored)?;
        let by_token = match self.bearer.as_ref().map(|bearer| bearer.identify(asked, now, looked))
        {
            None | Some(Verdict::Nobody) => None,
            Some(Verdict::Known(identity)) => Some(identity),
            Some(Verdict::Invalid(error, scheme)) => {
                let wrong = (scheme, "invalid_token");
                let challenges = self.challenges_for(context.route(), Some(wrong));
                return Err(invalid(context, &challenges, error));
            }
            Some(Verdict::BadProof(error)) => {
                let wrong = (Scheme::Dpop, "invalid_dpop_proof");
                return Err(invalid(
                    context,
                    &self.challenges_for(context.route(), Some(wrong)),
                    error,
                ));
            }
            Some(Verdict::Look(look)) => return Err(Found::Look(look)),
            Some(Verdict::Unavailable) => return Err(Found::Refused(unavailable())),
        };
        let identity = match (by_key, by_token) {
            (Some(_), Some(_)) => return Err(self.key_and_token(context)),
            (one, other) => one.or(other),
        };
        let (identity, session) = self.with_session(asked, identity, now, loaded)?;
        let by_certificate = || {
            let known = self.certificates.as_ref()?.identify(context.connection())?;
            Some(known.clone())
        };
        let identity = identity.or_else(by_certificate);
        if identity.as_ref().and_then(Identity::revocation).is_some_and(Revocation::is_revoked) {
            return Err(invalid(context, &self.challenges, "one that was revoked".into()));
        }
        if let Some(identity) = &identity
            && !takes(context.route(), identity.issuer())
        {
            let message =
                format!("`{}`: this route takes callers of other issuers", identity.key());
            let challenges = self.challenges_on(context.route());
            return Err(invalid(context, &challenges, Invalid(message.into())));
        }
        Ok((identity, session))
    }
    /// Whose key the request carries.
    fn by_key(
        &self,
        asked: Asked<'_>,
        now: SystemTime,
        stored: Option<Result<Option<FoundKey>, StoreError>>,
    ) -> Result<Option<Identity>, Found> {
        let Asked { context, headers, token, .. } = asked;
        let Some(keys) = &self.api_keys else { return Ok(None) };
        let stored = stored.transpose().map_err(|error| {
            tracing::warn!("{error}");
            Found::Refused(unavailable())
        })?;
        let stored =
            stored.map(|found| found.ok_or("a key that nobody owns, or that is over".into()));
        match keys.identify(headers, now, stored) {
            Ok(KeyVerdict::Nobody) => Ok(None),
            Ok(KeyVerdict::Known(identity)) => Ok(Some(identity)),
            Ok(KeyVerdict::Look(_)) if token.is_ours() => Err(self.key_and_token(context)),
            Ok(KeyVerdict::Look(look)) => {
                Err(Found::Look(Box::pin(async move { Looked::Key(look.await) })))
            }
            Err(error) => Err(invalid(context, &self.challenges, error)),
        }
    }
    fn key_and_token(&self, context: &Context) -> Found {
        let both = Invalid::from("an API key and a token: nobody can say which is meant");
        invalid(context, &self.challenges, both)
    }
    /// The session of the request, where there are sessions; whose it is, where nobody has said who they are in another way.
    fn with_session(
        &self,
        asked: Asked<'_>,
        identity: Option<Identity>,
        now: SystemTime,
        loaded: Option<Loaded>,
    ) -> Result<(Option<Identity>, Option<Session>), Found> {
        let Some(sessions) = &self.sessions else { return Ok((identity, None)) };
        if identity.is_some() {
            // Who says who they are in so many words is not asked for a cookie, and may get one.
            return Ok((identity, Some(sessions.unopened(asked))));
        }
        match sessions.open(asked, now, loaded) {
            Opened::Session(session, identity) => Ok((identity, Some(session))),
            Opened::Look(look) => {
                Err(Found::Look(Box::pin(async move { Looked::Session(look.await) })))
            }
            Opened::Unavailable => Err(Found::Refused(unavailable())),
            Opened::CrossSite => {
                asked.context.note("authenticate", || "sent by another site's page");
                Err(Found::Refused(Problem::new(REQUEST_CROSS_SITE)))
            }
        }
    }
}

fn invalid(context: &Context, challenges: &Challenges, Invalid(what): Invalid) -> Found {
    context.note("authenticate", || what.clone());
    Found::Refused(challenges.on(Problem::new(CREDENTIALS_INVALID).cause(what.into_owned())))
}

/// Nobody can be asked whether the credentials are good.
fn unavailable() -> Problem {
    let problem = Problem::new(AUTHENTICATION_UNAVAILABLE).source(Source::Upstream);
    let problem =
        problem.cause("whoever could say whether the credentials are good does not answer");
    problem.header(RETRY_AFTER, HeaderValue::from_static("5")).retry_is_safe()
}
