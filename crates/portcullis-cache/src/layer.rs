//! The cache layer.
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::stack::{Plan as StackPlan, Staged};
use portcullis_core::{Body, BoxError, ConfigError, Context, stage};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_service::Service;

use crate::exchange::{Exchange, Plan};
use crate::handle::CacheHandle;
use crate::hints::Hints;
use crate::keep::KEPT;
use crate::key::Scope;
use crate::memory::Memory;
use crate::option::Cached;
use crate::policy::{Preset, Rules};
use crate::quick;
use crate::shared::{Shared, hide};
use crate::stats::{CacheStats, Counts};
use crate::store::CacheStore;
use crate::stream::Room;

/// Applies [`Cache`]: answers from what is stored, and stores what the inner service answers.
///
/// Behind a route table it caches the routes that say so ([`CacheExt`](crate::CacheExt)); used alone, everything that says of itself that it may be.
///
/// Clones share what is stored.
#[derive(Clone)]
pub struct CacheLayer {
    settings: Settings,
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Settings {
    rules: Rules,
    store: Arc<dyn CacheStore>,
    name: Box<str>,
    hides_tags: Option<bool>,
    ignored: Vec<HeaderName>,
    behind: usize,
    stats: Arc<Counts>,
    stand: u64,
    handle: CacheHandle,
}

/// How many bytes of bodies on their way are kept at least, in all.
const LEAST_ROOM: u64 = 16 << 20;

impl Settings {
    fn shared(&self) -> Arc<Shared> {
        // Whoever asks for every clause of the standard, and no more, gets the fields as they came.
        let hides_tags = self.hides_tags.unwrap_or(self.rules.preset == Preset::Application);
        let sizes = self.store.sizes();
        // Eight of the largest.
        let largest = sizes.whole.max(sizes.streamed.min(KEPT));
        let room = largest.saturating_mul(8).max(LEAST_ROOM);
        Arc::new(Shared {
            rules: self.rules.clone(),
            store: Arc::clone(&self.store),
            flights: Arc::default(),
            hints: Hints::default(),
            searches: self.handle.searches(),
            name: self.name.clone(),
            hides_tags,
            ignored: self.ignored.clone(),
            behind: Arc::new(Semaphore::new(self.behind.min(Semaphore::MAX_PERMITS))),
            room: Arc::new(Room::new(room)),
            stats: Arc::clone(&self.stats),
            stand: self.stand,
        })
    }
}

impl CacheLayer {
    /// Keeps responses in memory, up to so many bytes.
    pub fn in_memory(bytes: u64) -> Self {
        Self::new(Arc::new(Memory::new(bytes)))
    }
    /// Keeps responses in this store.
    pub fn new(store: Arc<dyn CacheStore>) -> Self {
        let settings = Settings {
            handle: CacheHandle::new(Arc::clone(&store)),
            rules: Rules::default(),
            store,
            name: "portcullis".into(),
            hides_tags: None,
            ignored: Vec::new(),
            behind: 64,
            stats: Arc::default(),
            // Of no two layers the same, nor of two processes whose entries are in one store.
            stand: RandomState::new().hash_one("where the layer stands"),
        };
        Self { shared: settings.shared(), settings }
    }
    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        Self { shared: self.settings.shared(), settings: self.settings }
    }
    /// Which rules hold. Default: [`Preset::Application`].
    #[must_use]
    pub fn preset(self, preset: Preset) -> Self {
        self.with(|settings| settings.rules.preset = preset)
    }
    /// What the cache calls itself in `Cache-Status` (RFC 9211): a token, such as the name of the site. Default: `portcullis`.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.with(|settings| settings.name = name.into())
    }
    /// Fields that speak to this cache in place of `Cache-Control`, the first that a response has before the others (RFC 9213). Default: `CDN-Cache-Control`.
    #[must_use]
    pub fn targeted(self, fields: Vec<HeaderName>) -> Self {
        self.with(|settings| settings.rules.targeted = fields)
    }
    /// Whether `Surrogate-Key` and `Cache-Tag` are taken off answers. Default: they are, but not with [`Preset::Rfc`].
    #[must_use]
    pub fn hide_tags(self, hide: bool) -> Self {
        self.with(|settings| settings.hides_tags = Some(hide))
    }
    /// Fields of requests that the origin does not look at, though clients do not usually send them, such as a field of an application's own that only its log shows. In the
    /// preset `application` a response to a request with an unusual field is shared only where its `Vary` names the field, since what stands in it might reach others (cache
    /// poisoning). Default: none.
    #[must_use]
    pub fn ignoring(self, fields: Vec<HeaderName>) -> Self {
        self.with(|settings| settings.ignored = fields)
    }
    /// A layer that keeps its entries in the same store apart from those of others, under this name. It matters only where the layer stands in no stack with an `EdgeLayer`: then it
    /// knows no more of a path than its service sees, and behind a router that takes a prefix off, as `axum::Router::nest` does, two services may see the same path. Default: each
    /// layer that is made is apart from others, and its clones are not.
    #[must_use]
    pub fn apart(self, name: &str) -> Self {
        let mut digest = [0; 8];
        digest.copy_from_slice(Sha256::digest(name).get(..8).unwrap_or(&[0; 8]));
        self.with(|settings| settings.stand = u64::from_be_bytes(digest))
    }
    /// How many requests to the origin may go on at once for which no client waits: to see whether something stale is still good, and to read to its end what a client has left.
    /// Default: 64.
    #[must_use]
    pub fn background(self, most: usize) -> Self {
        self.with(|settings| settings.behind = most)
    }
    /// What takes things out of the cache, and keeps an application's own data in it.
    pub fn handle(&self) -> CacheHandle {
        self.settings.handle.clone()
    }
    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
    /// What it counts about itself.
    pub fn stats(&self) -> CacheStats {
        CacheStats(Arc::clone(&self.settings.stats))
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Cache { inner, shared: Arc::clone(&self.shared) }
    }
}

impl Staged for CacheLayer {
    type Stage = stage::Cache;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut StackPlan) {
        plan.reads::<Cached>([]);
        let name = &self.settings.name;
        let is_token =
            name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c))
                && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*');
        if !is_token {
            let message = format!(
                "`{name}` is no name for `Cache-Status`: write a token that begins with a letter, such as `shop`"
            );
            plan.errors([ConfigError::new("the cache", message)]);
        }
        let Some(table) = plan.table().cloned() else { return };
        if !table.routes().any(|route| route.options().get::<Cached>().is_some()) {
            tracing::warn!(
                "no route is cached, so the cache keeps nothing: say `.cached()` on those that are to be"
            );
        }
        for route in table.routes() {
            let Some(cached) = route.options().get::<Cached>() else { continue };
            let access = route.access();
            let wrong = [
                (cached.scope == Some(Scope::Public) && !access.is_public()).then_some(
                    "its answers would be everybody's, and the route is not public: leave `scope` out, or make the route public",
                ),
                (cached.scope.is_some_and(|scope| scope != Scope::Public) && access.is_public())
                    .then_some("nobody is known on it, so its answers are everybody's: leave `scope` out"),
                (access.checks_objects()).then_some(
                    "its handler looks at who may see what, and would not be asked: do not cache it",
                ),
                (cached.purges && access.is_public()).then_some(
                    "anybody could take things out of the cache: say who may",
                ),
                (cached.default_ttl.is_some_and(|ttl| ttl.is_zero())).then_some(
                    "a `default_ttl` of 0 keeps nothing: leave it out",
                ),
            ];
            let wrong = wrong.into_iter().flatten();
            plan.errors(wrong.map(|text| ConfigError::new(format!("route `{route}`"), text)));
        }
    }
}

/// Answers from what is stored, and stores what the inner service answers.
///
/// # Cancellation
/// When a request is dropped before the head of its answer has come, another one that waits for the same asks the origin in its place. When the body is dropped, whoever else reads it
/// goes on; where nobody does, it is read to its end and stored, within a minute.
#[derive(Clone)]
pub struct Cache<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: fmt::Debug> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Cache<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CacheFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        if let Some(answer) = quick::answer(&self.shared, &context, &request) {
            return CacheFuture { state: State::Answered { answer: Some(answer) } };
        }
        match Exchange::plan(&self.shared, &context, &request) {
            Plan::Pass => {
                let call = self.inner.call(request.map(Body::new));
                let hides = self.shared.hides_tags;
                CacheFuture { state: State::Passing { call, hides } }
            }
            Plan::Look(exchange) => {
                if let Some(answer) = exchange.quick(&request) {
                    return CacheFuture { state: State::Answered { answer: Some(answer) } };
                }
                let (origin, request) = (self.ready(), request.map(Body::new));
                CacheFuture::waiting(exchange.read(origin, request))
            }
            Plan::Query(exchange) => {
                let (origin, request) = (self.ready(), request.map(Body::new));
                CacheFuture::waiting(exchange.query(origin, request))
            }
            Plan::Change(exchange) => {
                let (origin, request) = (self.ready(), request.map(Body::new));
                CacheFuture::waiting(exchange.change(origin, request))
            }
            Plan::Purge(exchange) => CacheFuture::waiting(exchange.purge()),
        }
    }
}

impl<S: Clone> Cache<S> {
    /// The instance that is ready; a clone, which may not be, stays.
    fn ready(&mut self) -> S {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}

pin_project! {
    /// The response future of [`Cache`].
    #[must_use = "futures do nothing unless polled"]
    pub struct CacheFuture<F, E> { #[pin] state: State<F, E> }
}

type Waiting<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

pin_project! {
    #[project = StateProj]
    enum State<F, E> {
        Passing { #[pin] call: F, hides: bool },
        Answered { answer: Option<Response<Body>> },
        // The origin is asked, or a store.
        Waiting { future: Waiting<E> },
    }
}

impl<F, E> CacheFuture<F, E> {
    fn waiting(future: impl Future<Output = Result<Response<Body>, E>> + Send + 'static) -> Self {
        Self { state: State::Waiting { future: Box::pin(future) } }
    }
}

impl<F, E> fmt::Debug for CacheFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}

impl<F, B, E> Future for CacheFuture<F, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Passing { call, hides } => {
                let mut response = ready!(call.poll(cx))?;
                if *hides {
                    hide(response.headers_mut());
                }
                Ok(response.map(Body::new))
            }
            StateProj::Answered { answer } => {
                Ok(answer.take().expect("a future is not polled after it completed"))
            }
            StateProj::Waiting { future } => ready!(future.as_mut().poll(cx)),
        })
    }
}
